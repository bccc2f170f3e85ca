import BackupClient
import BackupFormats
import Testing

@Suite("A repository")
struct RepositoryTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let text: String
        let user: String
        let host: String
        let port: Int
        let store: String
        var testDescription: String { text }
    }

    static let good = [
        Case(text: "store", user: "root@pam", host: "localhost", port: 8007, store: "store"),
        Case(text: "h:store", user: "root@pam", host: "h", port: 8007, store: "store"),
        Case(text: "h:8008:store", user: "root@pam", host: "h", port: 8008, store: "store"),
        Case(text: "u@pbs@h:store", user: "u@pbs", host: "h", port: 8007, store: "store"),
        Case(text: "u@pbs!tok@h:store", user: "u@pbs!tok", host: "h", port: 8007, store: "store"),
        Case(text: "[ff80::51]:1234:store", user: "root@pam", host: "ff80::51", port: 1234, store: "store"),
        Case(text: "u@pbs@[::1]:store", user: "u@pbs", host: "::1", port: 8007, store: "store"),
        Case(
            text: "a@b@pbs@192.0.2.7:9:my_store-1.x", user: "a@b@pbs", host: "192.0.2.7", port: 9, store: "my_store-1.x"
        ),
    ]

    @Test("is read in each of its forms", arguments: good)
    func reads(_ example: Case) throws {
        let repository = try Repository(parsing: example.text)
        #expect(repository.authID.description == example.user)
        #expect(repository.host == example.host)
        #expect(repository.port == example.port)
        #expect(repository.datastore == example.store)
    }

    @Test(
        "is refused where a part is wrong",
        arguments: [
            "", "ab", ".store", "h:", ":store", "h:99999:store", "h:x:store", "u@pbs@store", "ff80::51:store",
            "[::1:store",
            "[::1]store", "h/x:store", "@h:store", "a:b:c:store", "h:st/ore",
        ])
    func refuses(_ text: String) {
        let failure = #expect(throws: BackupFailure.self) { try Repository(parsing: text) }
        #expect(failure?.kind == .invalidInput)
    }

    @Test("names its server with the port only where it is not the usual one")
    func serverName() throws {
        #expect(try Repository(parsing: "h:store").serverName == "h")
        #expect(try Repository(parsing: "h:8008:store").serverName == "h:8008")
        #expect(try Repository(parsing: "[::1]:8008:store").serverName == "[::1]:8008")
    }
}

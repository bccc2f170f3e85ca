import AccessControl
import BackupFormats
import CairnTestSupport
import Foundation
import Testing

/// The original's datastore, served by us and asked what the original was asked.
@Suite("Answers about the original's datastore")
struct RecordedAnswerTests {
    /// Made once: copying the store takes a while. Tests of this suite change nothing.
    static let shared = Task { () throws -> (World, World.Caller) in
        let world = try World()
        try FixtureStore.copy(to: URL(fileURLWithPath: world.folder + "/stores/fix"))
        try world.addStore("fix", reusing: true)
        return (world, try await world.user("tester", .admin))
    }

    static let plain = [("backup-type", "host"), ("backup-id", "plain")]
    static func plain(_ day: Int) -> [(String, String)] {
        plain + [("backup-time", day == 1 ? "1717200000" : "1717286400")]
    }

    /// The body of a recorded answer.
    static func recorded(_ name: String) throws -> JSONValue {
        let text = try Fixtures.text("pbs/outputs/api/\(name).http")
        let start = try #require(text.firstIndex(of: "{"))
        return try JSONValue(parsing: String(text[start...]).trimmingCharacters(in: .whitespacesAndNewlines)).sorted()
    }

    static func ask(_ method: String, _ path: String, _ query: [(String, String)] = [], json: JSONValue? = nil)
        async throws -> JSONValue
    {
        let (world, caller) = try await shared.value
        let reply = try await world.send(method, "/admin/datastore/fix" + path, as: caller, query: query, json: json)
        #expect(reply.status == 200, "\(reply.text)")
        return reply.json.sorted()
    }

    @Test("are those of the original for the snapshots of a group")
    func snapshots() async throws {
        #expect(try await Self.ask("GET", "/snapshots", Self.plain) == Self.recorded("GET-snapshots-group"))
    }

    @Test("are those of the original for all snapshots, in any order")
    func allSnapshots() async throws {
        let ours = try await Self.ask("GET", "/snapshots")["data"]?.arrayValue ?? []
        let theirs = try Self.recorded("GET-snapshots")["data"]?.arrayValue ?? []
        #expect(!ours.isEmpty && Set(ours) == Set(theirs))
    }

    @Test("are those of the original for groups, but for the order of files")
    func groups() async throws {
        func normal(_ answer: JSONValue) -> Set<JSONValue> {
            Set(
                (answer["data"]?.arrayValue ?? []).map { group in
                    var object = group.objectValue ?? [:]
                    let files = (object["files"]?.arrayValue ?? []).compactMap(\.stringValue).sorted()
                    object["files"] = .array(files.map { .string($0) })
                    // The recorded answer keeps the line end of the first line, which release 3.2 did.
                    object["comment"] = object["comment"]?.stringValue.map {
                        .string($0.trimmingCharacters(in: .newlines))
                    }
                    return .object(object)
                })
        }
        #expect(normal(try await Self.ask("GET", "/groups")) == normal(try Self.recorded("GET-groups")))
    }

    @Test(
        "are those of the original for files, notes, protection and namespaces",
        arguments: [
            ("/files", 1, "GET-files"), ("/notes", 2, "GET-notes"), ("/protected", 2, "GET-protected"),
        ])
    func single(_ path: String, _ day: Int, _ name: String) async throws {
        #expect(try await Self.ask("GET", path, Self.plain(day)) == Self.recorded(name))
    }

    @Test("are those of the original for namespaces")
    func namespaces() async throws {
        #expect(try await Self.ask("GET", "/namespace") == Self.recorded("GET-namespace"))
    }

    @Test("are those of the original for a dry prune without rules")
    func prune() async throws {
        let ours = try await Self.ask(
            "POST", "/prune", json: ["backup-type": "host", "backup-id": "plain", "dry-run": true])
        #expect(ours == (try Self.recorded("POST-prune-dry-run")))
    }

    @Test("have the members of the original for the store's status and usage")
    func status() async throws {
        let ours = try await Self.ask("GET", "/status", [("verbose", "1")])["data"]
        let theirs = try Self.recorded("GET-status")["data"]
        #expect(ours?.objectValue?.members.map(\.name) == theirs?.objectValue?.members.map(\.name))
        #expect(ours?["counts"] == theirs?["counts"])
        #expect(
            Set(ours?["gc-status"]?.objectValue?.members.map(\.name) ?? [])
                == Set(theirs?["gc-status"]?.objectValue?.members.map(\.name) ?? []))
    }

    @Test("hand out blobs and indexes as they are stored")
    func download() async throws {
        let (world, caller) = try await Self.shared.value
        for name in ["vm.conf.blob", "tree.pxar.didx", "disk.img.fidx", "client.log.blob", "index.json.blob"] {
            let reply = try await world.send(
                "GET", "/admin/datastore/fix/download", as: caller, query: Self.plain(1) + [("file-name", name)])
            #expect(reply.header("content-type") == "application/octet-stream")
            #expect(reply.bytes == (try Fixtures.bytes("pbs/store/host/plain/2024-06-01T00:00:00Z/\(name)")), "\(name)")
        }
        let missing = try await world.send(
            "GET", "/admin/datastore/fix/download", as: caller, query: Self.plain(1) + [("file-name", "no.blob")])
        #expect(missing.status == 400)
    }

    @Test("hand out content, but not what is encrypted")
    func decoded() async throws {
        let (world, caller) = try await Self.shared.value
        let path = "/admin/datastore/fix/download-decoded"
        let catalog = try await world.send(
            "GET", path, as: caller, query: Self.plain(1) + [("file-name", "catalog.pcat1.didx")])
        #expect(catalog.bytes == (try Fixtures.bytes("pbs/outputs/catalog.host_plain_2024-06-01T00_00_00Z.pcat1")))
        let image = try await world.send(
            "GET", path, as: caller, query: Self.plain(1) + [("file-name", "disk.img.fidx")])
        #expect(image.bytes.count == 10_485_883 && image.bytes.starts(with: Array("img line 00000000".utf8)))
        let encrypted = [("backup-type", "host"), ("backup-id", "enc"), ("backup-time", "1717200000")]
        for name in ["small.pxar.didx", "vm.conf.blob"] {
            #expect(
                try await world.send("GET", path, as: caller, query: encrypted + [("file-name", name)]).status == 400,
                "\(name)")
        }
    }
}

import BackupFormats
import GRDB
import Platform
import Testing

@testable import StateDatabase

/// A database in a folder of its own, which goes with it.
final class Scene {
    let folder: StateFolder
    let database: StateDatabase

    init() throws {
        folder = try StateFolder(path: FileSystem.makeTemporaryFolder(prefix: "cairn-state") + "/deep/er")
        database = try StateDatabase(folder: folder)
    }

    deinit {
        database.close()
        try? FileSystem.removeTree(String(folder.path.dropLast("/deep/er".count)))
    }

    static func id(_ text: String) throws -> AuthID { try #require(AuthID(parsing: text)) }

    /// One of everything.
    func fill() throws {
        let (user, token) = (try Self.id("u@pbs"), try Self.id("u@pbs!t"))
        try database.write { state in
            try state.put(
                UserRecord(
                    id: user, comment: "c", isEnabled: false, expire: 5, firstName: "Al", lastName: "Bo",
                    email: "a@b.c",
                    passwordHash: "$y$hash"))
            try state.put(TokenRecord(id: token, comment: "t", isEnabled: false, expire: 6, secretHash: "sha256:00"))
            try state.put(ACLRecord(path: "/datastore/s", subject: token, role: "Admin", propagates: false))
            try state.put(DatastoreRecord(name: "s", path: "/srv/s", properties: ["comment": "x", "keep-last": 3]))
            try state.put(ConfigEntry(id: "job1", properties: ["schedule": "daily"]), in: .pruneJob)
        }
        for name in StateDatabase.secretFiles { try folder.replace(name, with: Array("secret of \(name)".utf8)) }
    }
}

@Suite("The state database")
struct StateDatabaseTests {
    @Test("and its folder are open to nobody else")
    func modes() throws {
        let scene = try Scene()
        #expect(try FileSystem.status(scene.folder.path)?.mode == 0o700)
        for name in try FileSystem.list(scene.folder.path) {
            #expect(try FileSystem.status(scene.folder.path(of: name))?.mode == 0o600, "\(name)")
        }
    }

    @Test("gives back what it was given, also after it was opened again")
    func persists() throws {
        let scene = try Scene()
        try scene.fill()
        scene.database.close()
        let again = try StateDatabase(folder: scene.folder)
        defer { again.close() }
        try again.read { state in
            let user = try #require(try state.users().first)
            #expect(
                user.id == (try Scene.id("u@pbs")) && user.passwordHash == "$y$hash" && !user.isEnabled
                    && user.expire == 5)
            #expect(try state.tokens().map(\.expire) == [6])
            #expect(try state.acl().map(\.propagates) == [false])
            #expect(
                try state.datastore("s")
                    == DatastoreRecord(name: "s", path: "/srv/s", properties: ["comment": "x", "keep-last": 3]))
            #expect(try state.datastore("t") == nil)
            #expect(try state.entries(.pruneJob) == [ConfigEntry(id: "job1", properties: ["schedule": "daily"])])
            #expect(try state.entries(.verifyJob).isEmpty)
        }
    }

    @Test("keeps entries in order of creation when one is changed")
    func order() throws {
        let scene = try Scene()
        try scene.database.write { state in
            for name in ["c", "a", "b"] { try state.put(ConfigEntry(id: name), in: .remote) }
            try state.put(ConfigEntry(id: "a", properties: ["x": 1]), in: .remote)
            #expect(try state.entries(.remote).map(\.id) == ["c", "a", "b"])
            #expect(try state.remove("c", from: .remote))
            #expect(try !state.remove("c", from: .remote))
            #expect(try state.entries(.remote).map(\.id) == ["a", "b"])
        }
    }

    @Test("undoes all of a transaction that fails")
    func atomic() throws {
        let scene = try Scene()
        let failure = #expect(throws: BackupFailure.self) {
            try scene.database.write { state in
                try state.put(ConfigEntry(id: "a"), in: .remote)
                throw BackupFailure(.conflict, "no")
            }
        }
        #expect(failure?.kind == .conflict)
        #expect(try scene.database.read { try $0.entries(.remote).isEmpty })
    }

    @Test("has a digest for each section, which secrets do not change")
    func digests() throws {
        let scene = try Scene()
        try scene.fill()
        func digest(_ section: ConfigSection) throws -> String {
            try scene.database.read { try $0.digest(of: section) }
        }
        let before = try [ConfigSection.users, .acl, .datastore, .pruneJob].map(digest)
        #expect(Set(before).count == 4)
        #expect(before.allSatisfy { $0.count == 64 && Hex.decode($0) != nil })
        try scene.database.write { state in
            var user = try #require(try state.users().first)
            user.passwordHash = "other"
            try state.put(user)
            try state.put(DatastoreRecord(name: "s", path: "/srv/s", properties: ["comment": "y", "keep-last": 3]))
        }
        let after = try [ConfigSection.users, .acl, .datastore, .pruneJob].map(digest)
        #expect(zip(before, after).map { $0 == $1 } == [true, true, false, true])
        try scene.database.write { try $0.requireDigest(after[2], of: .datastore) }
        try scene.database.write { try $0.requireDigest(nil, of: .datastore) }
        let failure = #expect(throws: BackupFailure.self) {
            try scene.database.write { try $0.requireDigest(before[2], of: .datastore) }
        }
        #expect(failure?.kind == .invalidInput)
    }

    @Test("of a newer version is refused")
    func newer() throws {
        let scene = try Scene()
        try scene.database.write { state in
            try state.database.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('999')")
        }
        scene.database.close()
        let failure = #expect(throws: BackupFailure.self) { try StateDatabase(folder: scene.folder) }
        #expect(failure?.kind == .unsupported)
    }

    @Test("that is none is said to be damaged")
    func damaged() throws {
        let scene = try Scene()
        scene.database.close()
        try scene.folder.replace(StateDatabase.fileName, with: Array(repeating: 65, count: 5000))
        let failure = #expect(throws: BackupFailure.self) { try StateDatabase(folder: scene.folder) }
        #expect(failure?.kind == .corruptData)
        #expect(failure?.hints.first?.contains("cairn state import") == true)
    }

    @Test("that is damaged in the middle is refused")
    func holed() throws {
        let scene = try Scene()
        try scene.database.write { state in
            for number in 0..<2000 {
                try state.put(ConfigEntry(id: "job\(number)", properties: ["schedule": "daily"]), in: .pruneJob)
            }
        }
        scene.database.close()
        var bytes = try #require(try scene.folder.read(StateDatabase.fileName, limit: 10 << 20))
        let page = 4096
        for start in stride(from: bytes.count / page / 2 * page, to: bytes.count, by: page) {
            bytes.replaceSubrange(start..<start + page, with: [UInt8](repeating: 0xA5, count: page))
        }
        try scene.folder.replace(StateDatabase.fileName, with: bytes)
        let failure = #expect(throws: BackupFailure.self) { try StateDatabase(folder: scene.folder) }
        #expect(failure?.kind == .corruptData)
    }

    @Test("serves asynchronous callers as well")
    func asynchronous() async throws {
        let scene = try Scene()
        let database = scene.database
        try await database.write { try $0.put(ConfigEntry(id: "a"), in: .node) }
        #expect(try await database.read { try $0.entry(.node, "a") } != nil)
        withExtendedLifetime(scene) {}
    }
}

@Suite("An exported state")
struct StateExportTests {
    @Test("brings everything back into another folder")
    func roundTrip() throws {
        let (old, new) = (try Scene(), try Scene())
        try old.fill()
        try new.database.write { try $0.put(ConfigEntry(id: "leftover"), in: .remote) }
        let document = try old.database.export()
        try new.database.replaceState(with: document)
        #expect(try new.database.export() == document)
        #expect(try new.folder.read("csrf.key") == Array("secret of csrf.key".utf8))
        #expect(try new.database.read { try $0.users().first?.passwordHash } == "$y$hash")
        #expect(try new.database.read { try $0.entries(.remote).isEmpty })
    }

    @Test(
        "is refused when it is none",
        arguments: [
            "", "{}", #"{"format":"other","version":1}"#, #"{"format":"cairn-state","version":1}"#,
            #"{"format":"cairn-state","version":1,"users":[{"id":"u"}],"tokens":[],"acl":[],"config":[]}"#,
            #"{"format":"cairn-state","version":1,"users":[],"tokens":[],"acl":[],"config":[{"section":"x"}]}"#,
        ])
    func malformed(text: String) throws {
        let scene = try Scene()
        try scene.fill()
        let before = try scene.database.export()
        let failure = #expect(throws: BackupFailure.self) { try scene.database.replaceState(with: Array(text.utf8)) }
        #expect(failure?.kind == .invalidInput)
        #expect(try scene.database.export() == before)
    }

    @Test("of a newer version is refused")
    func newer() throws {
        let failure = #expect(throws: BackupFailure.self) {
            try Scene().database.replaceState(with: Array(#"{"format":"cairn-state","version":2}"#.utf8))
        }
        #expect(failure?.kind == .unsupported)
    }
}

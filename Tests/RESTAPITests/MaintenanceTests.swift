import AccessControl
import BackupFormats
import BackupServer
import CairnTestSupport
import Datastore
import Foundation
import Logging
import Platform
import Tasks
import Testing

@Suite("Maintenance over REST")
struct MaintenanceTests {
    static let base = "/admin/datastore/store1"
    let world: World
    let admin: World.Caller
    let store: Datastore

    init() async throws {
        world = try World()
        store = try world.addStore("store1")
        admin = try await world.user("admin", .admin)
    }

    /// Characters in front of each line of a log.
    static let timeLength = "2026-11-21T15:16:35+00:00: ".count

    /// How a task ended, and its log.
    struct Ended {
        let status: String
        let lines: [String]
        func has(_ text: String) -> Bool { lines.contains { $0.contains(text) } }
    }

    func run(_ path: String, _ json: JSONValue) async throws -> Ended {
        let reply = try await world.send("POST", Self.base + path, as: admin, json: json)
        let task = try #require(reply.data.stringValue, "\(reply.text)")
        return try await end(try UPID(parsing: task))
    }

    func end(_ upid: UPID) async throws -> Ended {
        await world.tasks.waitUntilStopped(upid)
        let log = try #require(try world.tasks.log(upid, start: 0, limit: 0))
        return Ended(
            status: try world.tasks.info(upid)?.status ?? "",
            lines: log.lines.map { String($0.text.dropFirst(Self.timeLength)) })
    }

    func back(_ name: String, seed: UInt64 = 1, namespace: String = "") throws -> SampleBackup {
        var backup = SampleBackup(name, seed: seed, pieces: 2)
        backup.namespace = try Namespace(parsing: namespace)
        try backup.run(in: store)
        return backup
    }

    func spoil(_ digest: ChunkDigest) throws {
        let path = "\(store.path)/.chunks/\("\(digest)".prefix(4))/\(digest)"
        var blob = try FileSystem.read(path, limit: 1 << 20)
        blob[blob.count - 1] ^= 1
        try AtomicFile.replace(path, with: blob)
    }

    // MARK: Verification

    @Test("verifies group by group, the newest snapshot first, and tells how far it is")
    func order() async throws {
        for name in ["host/a/2024-06-01T00:00:00Z", "host/a/2024-06-02T00:00:00Z"] { _ = try back(name) }
        try store.createNamespace(try Namespace(parsing: "n"))
        _ = try back("vm/7/2024-06-01T00:00:00Z", seed: 2, namespace: "n")
        let ended = try await run("/verify", ["max-depth": 7])
        #expect(ended.status == "OK")
        let told = ended.lines.filter { !$0.hasPrefix("  ") && !$0.isEmpty }
        #expect(
            told == [
                "verify datastore store1", "found 2 groups", "verify group store1:host/a (2 snapshots)",
                "verify store1:host/a/2024-06-02T00:00:00Z",
                "percentage done: 25.00% (0/2 groups, 1/2 snapshots in group #1)",
                "verify store1:host/a/2024-06-01T00:00:00Z", "percentage done: 50.00% (1/2 groups)",
                "verify group store1:n:vm/7 (1 snapshots)", "verify store1:n:vm/7/2024-06-01T00:00:00Z",
                "percentage done: 100.00% (2/2 groups)", "TASK OK",
            ])
        let shallow = try await run("/verify", ["max-depth": 0, "ignore-verified": false])
        #expect(shallow.has("found 1 groups"))
    }

    @Test("goes on behind what an earlier run has finished, unless told otherwise or that is long ago")
    func resumes() async throws {
        let first = try back("host/a/2024-06-01T00:00:00Z")
        let second = try back("host/a/2024-06-02T00:00:00Z", seed: 2)
        // As a run leaves it that was stopped behind the newer one, forty days ago.
        let start = Int64(Date().timeIntervalSince1970) - 40 * 86400
        let task =
            "UPID:node:00000001:00000002:00000003:\(String(start, radix: 16, uppercase: true)):verify:x:root@pam:"
        try store.updateManifest(of: second.snapshot, in: .root) {
            $0.verifyState = .init(outcome: .failed, task: task)
        }
        let group: JSONObject = ["backup-type": "host", "backup-id": "a"]
        let ended = try await run("/verify", .object(group))
        #expect(ended.status == "OK")
        #expect(ended.has("SKIPPED: verify store1:host/a/2024-06-02T00:00:00Z (recently verified)"))
        #expect(try store.manifest(of: first.snapshot, in: .root).verifyState?.outcome == .ok)
        #expect(try store.manifest(of: second.snapshot, in: .root).verifyState?.outcome == .failed)
        func outdated(_ days: Int64) async throws -> Int {
            let ended = try await run("/verify", ["outdated-after": .integer(days)])
            return ended.lines.count { $0.hasPrefix("SKIPPED") }
        }
        #expect(try await outdated(40) == 2)
        #expect(try await outdated(39) == 1)
        #expect(try await outdated(39) == 2)
        let all = try await run("/verify", ["ignore-verified": false])
        #expect(!all.has("SKIPPED"))
    }

    @Test("names all that is wrong, goes on, and fails at the end")
    func damage() async throws {
        let names = (1...5).map { "host/g\($0)/2024-06-01T00:00:00Z" }
        let backups = try names.enumerated().map { try back($0.element, seed: UInt64($0.offset + 1)) }
        func file(_ number: Int, _ name: String) -> String { "\(store.path)/\(names[number])/\(name)" }
        let flipped = ChunkDigest(hashing: backups[0].pieces[0])
        try spoil(flipped)
        let missing = ChunkDigest(hashing: backups[1].pieces[0])
        try FileSystem.removeFile("\(store.path)/.chunks/\("\(missing)".prefix(4))/\(missing)")
        try AtomicFile.replace(file(2, "root.pxar.didx"), with: [1, 2, 3])
        try AtomicFile.replace(file(3, "index.json.blob"), with: Array("no manifest".utf8))
        let ended = try await run("/verify", ["read-threads": 2, "verify-threads": 3])
        #expect(ended.status.hasPrefix("verification failed - please check the log for details (4 of 5"))
        for text in [
            "\(flipped)", "corrupted chunk renamed to \"\(flipped).0.bad\"", "\(missing): there is no such chunk",
            "g3/2024-06-01T00:00:00Z/root.pxar.didx failed", "g4/2024-06-01T00:00:00Z - manifest load error",
            "Failed to verify the following snapshots/groups:", " host/g4/2024-06-01T00:00:00Z",
        ] { #expect(ended.has(text), "\(text) is not in \(ended.lines)") }
        #expect(!ended.lines.contains(" host/g5/2024-06-01T00:00:00Z"))
        // The next backup heals.
        try store.removeSnapshot(backups[3].snapshot, in: .root)
        for (number, name) in ["host/g1", "host/g2", "host/g3"].enumerated() {
            _ = try back("\(name)/2024-06-02T00:00:00Z", seed: UInt64(number + 1))
        }
        let again = try await run("/verify", ["ignore-verified": false])
        #expect(again.status.contains("(1 of 7 snapshots"), "\(again.lines)")
    }

    @Test("can be aborted, and keeps the results of finished snapshots")
    func abort() async throws {
        let first = try back("host/a/2024-06-01T00:00:00Z")
        let second = try back("host/a/2024-06-02T00:00:00Z", seed: 2)
        // Aborted in the moment in which the newer one's result is written.
        let task = Monitor<UPID?>(nil)
        let tasks = world.tasks
        var options = TestStore.options
        options.beforeStep = { step in
            if step == .manifestRewrite { _ = tasks.abort(task.wait { $0 }) }
        }
        world.stores.closeAll()
        let stores = try DatastoreRegistry(
            database: world.database, options: options, roots: [], logger: Logger(label: "test"))
        let maintenance = MaintenanceService(
            stores: stores, access: world.access, tasks: tasks, workers: world.workers, time: .system,
            localOffset: { _ in 0 })
        let upid = tasks.run("verify", id: "store1", owner: try #require(AuthID(parsing: "admin@pbs"))) { task in
            try await maintenance.verify(VerifyRequest(store: "store1"), in: task)
        }
        task.withLock(wake: true) { $0 = upid }
        #expect(try await end(upid).status == "task aborted")
        let reopened = try stores.datastore("store1", for: .read)
        #expect(try reopened.manifest(of: second.snapshot, in: .root).verifyState?.outcome == .ok)
        #expect(try reopened.manifest(of: first.snapshot, in: .root).verifyState == nil)
        stores.closeAll()
    }

    // MARK: Prune

    @Test("answers as the original did for its 125 snapshots without a rule")
    func noRules() async throws {
        let recorded = try JSONValue(parsing: Fixtures.bytes("pbs/prune/no-options.json"))
        for item in recorded.arrayValue ?? [] {
            try world.addSnapshot("host/p", item["backup-time"]?.intValue ?? 0, in: "store1", owner: "admin@pbs")
            guard item["protected"] == true, let time = item["backup-time"]?.intValue else { continue }
            let group = try #require(BackupGroup(parsing: "host/p"))
            let name = try #require(SnapshotName(group: group, time: time))
            try store.setProtected(true, name, in: .root)
        }
        let body: JSONValue = ["backup-type": "host", "backup-id": "p", "dry-run": true]
        #expect(
            try await world.send("POST", Self.base + "/prune", as: admin, json: body).data.sorted() == recorded.sorted()
        )
    }

    @Test("says on request why each snapshot stays or goes, and always in the log")
    func reasons() async throws {
        for day in 0..<4 {
            try world.addSnapshot("host/a", 1_717_200_000 + Int64(day) * 43200, in: "store1", owner: "admin@pbs")
        }
        let body: JSONObject = ["backup-type": "host", "backup-id": "a", "keep-last": 1, "keep-daily": 2]
        let plain = try await world.send("POST", Self.base + "/prune", as: admin, json: .object(body.with("dry-run")))
        #expect(plain.data.arrayValue?.allSatisfy { $0["reason"] == nil } == true)
        let told = try await world.send(
            "POST", Self.base + "/prune", as: admin, json: .object(body.with("dry-run").with("explain")))
        #expect(
            told.data.arrayValue?.compactMap { $0["reason"]?.stringValue } == [
                "keep-daily keeps a newer one of the same day", "keep-daily, 1 of 2", "no rule keeps it",
                "keep-last, 1 of 1",
            ])
        let dry = try await run("/prune-datastore", .object(["keep-last": 1, "dry-run": true]))
        #expect(dry.has("would remove host/a/2024-06-01T00:00:00Z (no rule keeps it)"))
        #expect(dry.has("would keep host/a/2024-06-02T12:00:00Z (keep-last, 1 of 1)"))
        #expect(try store.snapshots(in: .root).count == 4)
        let real = try await run("/prune-datastore", ["keep-last": 1])
        #expect(real.status == "OK" && real.has("remove host/a/2024-06-01T12:00:00Z (no rule keeps it)"))
        #expect(try store.snapshots(in: .root).count == 1)
    }

    @Test("prunes around locked snapshots, running sessions and groups that cannot be read, with warnings")
    func obstacles() async throws {
        for group in ["host/a", "host/b"] {
            for time: Int64 in [1000, 2000] { try world.addSnapshot(group, time, in: "store1", owner: "admin@pbs") }
        }
        let oldest = try #require(SnapshotName(parsing: "host/a/1970-01-01T00:16:40Z"))
        let reader = try store.openReader(oldest, in: .root, purpose: "a test")
        let running = SampleBackup("host/b/2024-06-01T00:00:00Z")
        var request = running.request
        request.owner = try #require(AuthID(parsing: "admin@pbs"))
        let stage = try store.beginSnapshot(request)
        defer { stage.discard() }
        let ended = try await run("/prune-datastore", ["keep-last": 1])
        #expect(ended.status == "WARNINGS: 1")
        #expect(ended.has("was not removed: Snapshot host/a/1970-01-01T00:16:40Z is in use by a test"))
        #expect(ended.has("keep host/b/2024-06-01T00:00:00Z (being written)"))
        #expect(try store.snapshots(in: .root).count == 4)
        reader.close()
    }

    // MARK: Maintenance modes

    func setMode(_ mode: String?) async throws -> Reply {
        try await world.send(
            "PUT", "/config/datastore/store1", as: admin,
            json: mode.map { ["maintenance-mode": .string($0)] } ?? ["delete": ["maintenance-mode"]])
    }

    @Test("refuses long work and changes in read-only mode, and reads still")
    func readOnly() async throws {
        let backup = try back("host/a/2024-06-01T00:00:00Z")
        // What runs comes to its end; the mode is for what begins later.
        let stage = try SampleBackup("host/a/2024-06-02T00:00:00Z").begin(in: store)
        #expect(try await setMode("read-only,message=back%20at%209%2C%20or%2010").status == 200)
        stage.discard()
        let name: JSONObject = ["backup-type": "host", "backup-id": "a"]
        let snapshot = name.with("backup-time", .integer(backup.snapshot.time))
        for (method, path, body) in [
            ("POST", "/verify", [:]), ("POST", "/prune-datastore", ["keep-last": 1]),
            ("POST", "/prune", .object(name.with("keep-last", 1))), ("POST", "/namespace", ["name": "n"]),
            ("PUT", "/notes", .object(snapshot.with("notes", "x"))),
            ("PUT", "/protected", .object(snapshot.with("protected", true))),
            ("POST", "/change-owner", .object(name.with("new-owner", "admin@pbs"))),
        ] as [(String, String, JSONValue)] {
            let reply = try await world.send(method, Self.base + path, as: admin, json: body)
            #expect(
                reply.status == 400 && reply.text.contains("read-only maintenance mode: back at 9, or 10"), "\(path)")
        }
        for (path, query) in [("/snapshots", name), ("/notes", snapshot), ("/active-operations", [:])] {
            let reply = try await world.send("GET", Self.base + path, as: admin, query: query.query)
            #expect(reply.status == 200, "\(path): \(reply.text)")
        }
        let dry = try await world.send("POST", Self.base + "/prune", as: admin, json: .object(name.with("dry-run")))
        #expect(dry.status == 200)
        #expect(try await run("/prune-datastore", ["keep-last": 1, "dry-run": true]).status == "OK")
        #expect(try await setMode(nil).status == 200)
        #expect(try await run("/verify", [:]).status == "OK")
    }

    @Test("goes offline, and is forgotten, only when nobody works on the store")
    func offline() async throws {
        let backup = try back("host/a/2024-06-01T00:00:00Z")
        func refused(_ reason: String) async throws {
            let reply = try await setMode("offline")
            #expect(reply.status == 400 && reply.text.contains(reason), "\(reply.text)")
            #expect(try await world.send("GET", Self.base + "/groups", as: admin).status == 200)
            let removal = try await world.send("DELETE", "/config/datastore/store1", as: admin)
            let task = try #require(removal.data.stringValue)
            let ended = try await end(try UPID(parsing: task))
            #expect(ended.status.contains(reason), "\(ended.status)")
        }
        func operations() async throws -> JSONValue {
            try await world.send("GET", Self.base + "/active-operations", as: admin).data
        }
        let stage = try SampleBackup("host/a/2024-06-02T00:00:00Z").begin(in: store)
        try await refused("is still being written by task UPID")
        #expect(try await operations()["write"] == 1)
        stage.discard()
        let reader = try store.openReader(backup.snapshot, in: .root, purpose: "a restore")
        try await refused("is in use by a restore")
        #expect(try await operations() == ["read": 1, "write": 0])
        reader.close()
        let use = try world.stores.use("store1", for: .write, by: "prune task 7")
        try await refused("in use by prune task 7")
        #expect(try await operations() == ["read": 0, "write": 1])
        use.end()
        use.end()
        #expect(try await operations() == ["read": 0, "write": 0])
        #expect(try await setMode("offline,message=moved").status == 200)
        let reply = try await world.send("GET", Self.base + "/groups", as: admin)
        #expect(reply.status == 400 && reply.text.contains("offline maintenance mode: moved"))
        #expect(throws: BackupFailure.self) { try world.stores.use("store1", for: .read, by: "a test") }
        // Its locks are given up: another program could have it now.
        try Datastore.open(name: "other", at: store.path, options: TestStore.options).close()
        #expect(try await setMode("delete").status == 400)
        #expect(try await setMode(nil).status == 200)
        #expect(try await world.send("GET", Self.base + "/groups", as: admin).status == 200)
    }

    @Test("removes no namespace in which somebody works")
    func namespaces() async throws {
        for name in ["a", "a/b"] { try store.createNamespace(try Namespace(parsing: name)) }
        let backup = try back("host/x/2024-06-01T00:00:00Z", namespace: "a/b")
        func remove() async throws -> Reply {
            try await world.send(
                "DELETE", Self.base + "/namespace", as: admin, query: [("ns", "a"), ("delete-groups", "1")])
        }
        var next = SampleBackup("host/x/2024-06-02T00:00:00Z")
        next.namespace = backup.namespace
        let stage = try next.begin(in: store)
        #expect(try await remove().status == 400)
        stage.discard()
        let reader = try store.openReader(backup.snapshot, in: backup.namespace, purpose: "a restore")
        #expect(try await remove().text.contains("in use by a restore"))
        reader.close()
        #expect(try await remove().status == 200)
        #expect(try store.namespaces().count == 1)
    }
}

extension JSONObject {
    fileprivate func with(_ name: String, _ value: JSONValue = true) -> JSONObject {
        var copy = self
        copy[name] = value
        return copy
    }

    fileprivate var query: [(String, String)] {
        members.map { ($0.name, $0.value.stringValue ?? $0.value.compactText) }
    }
}

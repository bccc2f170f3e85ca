import AccessControl
import BackupFormats
import BackupServer
import Datastore
import Tasks
import Testing

@Suite("Content over REST")
struct ContentTests {
    static let base = "/admin/datastore/store1"
    let world: World
    let admin: World.Caller

    init() async throws {
        world = try World()
        try world.addStore("store1")
        admin = try await world.user("admin", .admin)
    }

    func name(_ id: String, _ time: Int64) -> [(String, String)] {
        [("backup-type", "host"), ("backup-id", id), ("backup-time", "\(time)")]
    }

    func times(_ id: String) async throws -> [Int64] {
        let list = try await world.send(
            "GET", Self.base + "/snapshots", as: admin, query: [("backup-type", "host"), ("backup-id", id)])
        return (list.data.arrayValue ?? []).compactMap { $0["backup-time"]?.intValue }
    }

    @Test("keeps notes, and shows their first line in listings")
    func notes() async throws {
        try world.addSnapshot("host/a", 1000, in: "store1", owner: "admin@pbs")
        let path = Self.base + "/notes"
        #expect(try await world.send("GET", path, as: admin, query: name("a", 1000)).data == "")
        #expect(
            try await world.send("PUT", path, as: admin, query: name("a", 1000) + [("notes", "l1\nl2")]).status == 200)
        #expect(try await world.send("GET", path, as: admin, query: name("a", 1000)).data == "l1\nl2")
        let list = try await world.send("GET", Self.base + "/snapshots", as: admin)
        #expect(list.data.arrayValue?.first?["comment"] == "l1")
        #expect(try await world.send("GET", path, as: admin, query: name("a", 1001)).status == 400)
        let group = [("backup-type", "host"), ("backup-id", "a")]
        #expect(
            try await world.send("PUT", Self.base + "/group-notes", as: admin, query: group + [("notes", "g\nh")])
                .status == 200)
        #expect(try await world.send("GET", Self.base + "/group-notes", as: admin, query: group).data == "g\nh")
        #expect(try await world.send("GET", Self.base + "/groups", as: admin).data.arrayValue?.first?["comment"] == "g")
    }

    @Test("protects snapshots from forget, prune and the removal of their group")
    func protection() async throws {
        try world.addSnapshot("host/a", 1000, in: "store1", owner: "admin@pbs")
        try world.addSnapshot("host/a", 2000, in: "store1", owner: "admin@pbs")
        let path = Self.base + "/protected"
        #expect(
            try await world.send("PUT", path, as: admin, query: name("a", 1000) + [("protected", "1")]).status == 200)
        #expect(try await world.send("GET", path, as: admin, query: name("a", 1000)).data == true)
        #expect(
            try await world.send("DELETE", Self.base + "/snapshots", as: admin, query: name("a", 1000)).status == 400)
        let pruned = try await world.send(
            "POST", Self.base + "/prune", as: admin, json: ["backup-type": "host", "backup-id": "a", "keep-last": 1])
        #expect(pruned.data.arrayValue?.map { [$0["keep"], $0["protected"]] } == [[true, true], [true, false]])
        let group = [("backup-type", "host"), ("backup-id", "a")]
        #expect(try await world.send("DELETE", Self.base + "/groups", as: admin, query: group).status == 400)
        #expect(try await times("a") == [1000])
        let lenient = try await world.send(
            "DELETE", Self.base + "/groups", as: admin, query: group + [("error-on-protected", "false")])
        #expect(lenient.data == ["removed-groups": 0, "removed-snapshots": 0, "protected-snapshots": 1])
        _ = try await world.send("PUT", path, as: admin, query: name("a", 1000) + [("protected", "0")])
        let gone = try await world.send("DELETE", Self.base + "/groups", as: admin, query: group)
        #expect(gone.data == ["removed-groups": 1, "removed-snapshots": 1, "protected-snapshots": 0])
    }

    @Test("forgets a snapshot once")
    func forget() async throws {
        try world.addSnapshot("host/a", 1000, in: "store1", owner: "admin@pbs")
        let json: JSONValue = ["backup-type": "host", "backup-id": "a", "backup-time": 1000]
        #expect(try await world.send("DELETE", Self.base + "/snapshots", as: admin, json: json).data == .null)
        #expect(try await world.send("DELETE", Self.base + "/snapshots", as: admin, json: json).status == 400)
        #expect(try await times("a").isEmpty)
    }

    @Test("prunes as a task, and lists what it decided oldest first")
    func prune() async throws {
        for time: Int64 in [1000, 2000, 3000] {
            try world.addSnapshot("host/a", time, in: "store1", owner: "admin@pbs")
        }
        let body: JSONValue = ["backup-type": "host", "backup-id": "a", "keep-last": 1]
        let reply = try await world.send("POST", Self.base + "/prune", as: admin, json: body)
        #expect(reply.data.arrayValue?.compactMap { $0["keep"]?.boolValue } == [false, false, true])
        #expect(try await times("a") == [3000])
        let tasks = try await world.send("GET", "/nodes/localhost/tasks", as: admin, query: [("typefilter", "prune")])
        #expect(tasks.data.arrayValue?.map { [$0["worker_id"], $0["status"]] } == [["store1::host/a", "OK"]])
        let inBackground = try await world.send(
            "POST", Self.base + "/prune", as: admin,
            json: ["backup-type": "host", "backup-id": "a", "keep-last": 1, "use-task": true])
        #expect(inBackground.data.stringValue?.hasPrefix("UPID:") == true)
        for wrong: JSONValue in [
            [:], ["backup-type": "host", "backup-id": "a", "keep-last": 0],
            ["backup-type": "host", "backup-id": "a", "keep-last": "2"],
        ] {
            #expect(try await world.send("POST", Self.base + "/prune", as: admin, json: wrong).status == 400)
        }
    }

    @Test("leaves what is being read, and says so in the task")
    func pruneInUse() async throws {
        for time: Int64 in [1000, 2000] { try world.addSnapshot("host/a", time, in: "store1", owner: "admin@pbs") }
        let group = try #require(BackupGroup(parsing: "host/a"))
        let oldest = try #require(SnapshotName(group: group, time: 1000))
        let reader = try world.stores.datastore("store1", for: .read).openReader(oldest, in: .root, purpose: "a test")
        defer { reader.close() }
        let reply = try await world.send(
            "POST", Self.base + "/prune", as: admin, json: ["backup-type": "host", "backup-id": "a", "keep-last": 1])
        #expect(reply.data.arrayValue?.compactMap { $0["keep"]?.boolValue } == [false, true])
        #expect(try await times("a") == [1000, 2000])
        let tasks = try await world.send("GET", "/nodes/localhost/tasks", as: admin, query: [("typefilter", "prune")])
        #expect(tasks.data.arrayValue?.first?["status"] == "WARNINGS: 1")
    }

    @Test("prunes a namespace and those below")
    func pruneStore() async throws {
        _ = try await world.send("POST", Self.base + "/namespace", as: admin, json: ["name": "n"])
        for time: Int64 in [1000, 2000] {
            try world.addSnapshot("host/a", time, in: "store1", owner: "admin@pbs")
            try world.addSnapshot("host/b", time, in: "store1", owner: "admin@pbs", namespace: "n")
        }
        let reply = try await world.send("POST", Self.base + "/prune-datastore", as: admin, json: ["keep-last": 1])
        try await finish(reply)
        #expect(try await times("a") == [2000])
        let below = try await world.send("GET", Self.base + "/snapshots", as: admin, query: [("ns", "n")])
        #expect(below.data.arrayValue?.count == 1)
    }

    @Test("verifies and remembers the result")
    func verify() async throws {
        try world.addSnapshot("host/a", 1000, in: "store1", owner: "admin@pbs")
        let body: JSONValue = ["backup-type": "host", "backup-id": "a", "backup-time": 1000]
        let reply = try await world.send("POST", Self.base + "/verify", as: admin, json: body)
        let task = try #require(reply.data.stringValue)
        #expect(task.contains(":verify_snapshot:store1\\x3a-host-a-000003E8:"))
        try await finish(reply)
        let list = try await world.send("GET", Self.base + "/snapshots", as: admin)
        #expect(list.data.arrayValue?.first?["verification"] == ["upid": .string(task), "state": "ok"])
        let half = try await world.send("POST", Self.base + "/verify", as: admin, json: ["backup-type": "host"])
        #expect(half.status == 400)
        let group = try await world.send(
            "POST", Self.base + "/verify", as: admin, json: ["backup-type": "host", "backup-id": "a"])
        #expect(group.data.stringValue?.contains(":verify_group:") == true)
        let all = try await world.send("POST", Self.base + "/verify", as: admin, json: ["ignore-verified": false])
        #expect(all.data.stringValue?.contains(":verify:store1:") == true)
        try await finish(group)
        try await finish(all)
    }

    /// Waits for the task of an answer and expects that it went well.
    func finish(_ reply: Reply) async throws {
        let task = try #require(reply.data.stringValue)
        await world.tasks.waitUntilStopped(try UPID(parsing: task))
        let path = "/nodes/localhost/tasks/\(task.replacing("\\", with: "%5C"))/status"
        let status = try await world.send("GET", path, as: admin)
        #expect(status.data["status"] == "stopped" && status.data["exitstatus"] == "OK", "\(status.text)")
    }

    @Test("takes the client's log once, and only as a blob")
    func log() async throws {
        try world.addSnapshot("host/a", 1000, in: "store1", owner: "admin@pbs")
        let path = Self.base + "/upload-backup-log"
        var broken = plainBlob("log")
        broken[12] ^= 1
        #expect(try await world.send("POST", path, as: admin, query: name("a", 1000), body: broken).status == 400)
        #expect(
            try await world.send("POST", path, as: admin, query: name("a", 1000), body: plainBlob("log")).data == .null)
        #expect(
            try await world.send("POST", path, as: admin, query: name("a", 1000), body: plainBlob("log")).status == 400)
        let files = try await world.send("GET", Self.base + "/files", as: admin, query: name("a", 1000))
        #expect(files.data.arrayValue?.contains(["filename": "client.log.blob"]) == true)
    }

    @Test("has namespaces of up to seven levels")
    func namespaces() async throws {
        let path = Self.base + "/namespace"
        var parent = ""
        for level in 1...7 {
            let body: JSONValue =
                parent.isEmpty ? ["name": "d1"] : ["name": .string("d\(level)"), "parent": .string(parent)]
            parent += (parent.isEmpty ? "" : "/") + "d\(level)"
            #expect(try await world.send("POST", path, as: admin, json: body).data == .string(parent))
        }
        #expect(try await world.send("POST", path, as: admin, json: ["name": "d1"]).status == 200)
        #expect(
            try await world.send("POST", path, as: admin, json: ["name": "d8", "parent": .string(parent)]).status == 400
        )
        #expect(try await world.send("POST", path, as: admin, json: ["name": "x", "parent": "ghost"]).status == 400)
        let start = try await world.send("GET", path, as: admin, query: [("parent", "d1"), ("max-depth", "1")])
        #expect(start.data == [["ns": "d1"], ["ns": "d1/d2"]])
        try world.addSnapshot("host/a", 1000, in: "store1", owner: "admin@pbs", namespace: "d1/d2")
        #expect(try await world.send("DELETE", path, as: admin, query: [("ns", "d1")]).status == 400)
        let gone = try await world.send("DELETE", path, as: admin, query: [("ns", "d1"), ("delete-groups", "1")])
        #expect(gone.data["removed-snapshots"] == 1)
        #expect(try await world.send("DELETE", path, as: admin, query: [("ns", "d1")]).status == 200)
        #expect(try await world.send("DELETE", path, as: admin, query: [("ns", "")]).status == 400)
        #expect(try await world.send("GET", path, as: admin).data == [["ns": ""]])
    }
}

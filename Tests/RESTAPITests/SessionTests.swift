import AccessControl
import BackupFormats
import BackupProtocol
import ManagementAPI
import RESTAPI
import Tasks
import Testing

@Suite("Opening a session")
struct SessionTests {
    let world: World
    let user: World.Caller

    init() async throws {
        world = try World()
        try world.addStore("store1")
        user = try await world.user("bk", .datastoreBackup, on: "/datastore/store1")
    }

    static let parameters = [
        ("store", "store1"), ("backup-type", "host"), ("backup-id", "a"), ("backup-time", "1000"),
    ]
    static let backup = [(name: "upgrade", value: "proxmox-backup-protocol-v1")]
    static let reader = [(name: "upgrade", value: "proxmox-backup-reader-protocol-v1")]

    func open(
        _ path: String = "/api2/json/backup", _ query: [(String, String)] = parameters, as caller: World.Caller? = nil,
        headers: [(name: String, value: String)] = backup
    ) async throws -> Reply {
        try await world.reply(await world.answer("GET", path, as: caller ?? user, query: query, headers: headers))
    }

    @Test(
        "upgrades below both formats and with doubled slashes",
        arguments: [
            "/api2/json/backup", "//api2/json/backup", "/api2/extjs/backup",
        ])
    func upgrades(_ path: String) async throws {
        let reply = try await open(path)
        #expect(reply.status == 101 && reply.header("upgrade") == "proxmox-backup-protocol-v1")
    }

    @Test("is refused with wrong parameters before all else but credentials")
    func parameters() async throws {
        let nobody = try await world.user("nobody")
        #expect(
            try await open(Self.parameters.isEmpty ? "" : "/api2/json/backup", [("foo", "1")], as: World.Caller.nobody)
                .status == 401)
        let reply = try await open("/api2/json/backup", [("store", "store1")], as: nobody)
        #expect(reply.status == 400 && reply.text.hasPrefix("parameter verification failed:\n"))
        #expect(reply.text.split(separator: "\n").count == 4)
        let deep = try await open("/api2/json/backup", Self.parameters + [("ns", "a/b/c/d/e/f/g/h")])
        #expect(deep.status == 400 && !deep.text.hasPrefix("parameter verification"))
    }

    @Test("is refused without the privilege, whether the store exists or not")
    func privileges() async throws {
        let nobody = try await world.user("nobody")
        let unknown = [("store", "nosuch")] + Self.parameters.dropFirst()
        #expect(try await open(as: nobody).status == 403)
        #expect(try await open("/api2/json/backup", unknown, as: nobody).status == 403)
        #expect(try await open("/api2/json/reader", as: nobody, headers: Self.reader).status == 400)
    }

    @Test("is refused by maintenance before the header is looked at, and by the header before the namespace")
    func order() async throws {
        let admin = try await world.user("admin", .admin)
        try world.addStore("busy", settings: ["maintenance-mode": "read-only"])
        let wrong = [(name: "upgrade", value: "x")]
        let busy = try await open(
            "/api2/json/backup", [("store", "busy")] + Self.parameters.dropFirst(), as: admin, headers: wrong)
        #expect(busy.status == 400 && busy.text.contains("maintenance"))
        let missing = Self.parameters + [("ns", "nope")]
        let header = try await open("/api2/json/backup", missing, headers: wrong)
        #expect(header.status == 400 && header.text.contains("Upgrade"))
        #expect(try await open("/api2/json/backup", missing, headers: []).status == 400)
        #expect(try await open("/api2/json/backup", missing).status == 404)
    }

    @Test("by POST needs HTTP/2, and then gives a native session")
    func native() async throws {
        let body: JSONValue = ["store": "store1", "backup-type": "host", "backup-id": "n", "backup-time": 1000]
        let old = try await world.send("POST", "/backup", as: user, json: body)
        #expect(old.status == 426)
        let answer = await world.answer("POST", "/api2/json/backup", as: user, json: body, isHTTP2: true)
        guard case .nativeSession(let kind, let session, let identity, let response) = answer else {
            Issue.record("no session")
            return
        }
        #expect(kind == "backup" && identity == AuthID(parsing: "bk@pbs") && response.status == 200)
        await session.connectionEnded(.closed)
        let upgrade = await world.answer(
            "GET", "/api2/json/backup", as: user, query: Self.parameters, headers: Self.backup, isHTTP2: true)
        #expect(try await world.reply(upgrade).status == 400)
    }

    @Test("of a native connection asks who sends each request")
    func identify() async throws {
        let request = RESTRequest(method: "GET", target: "/api2/json/backup/x", headers: user.headers)
        #expect(await world.server.identify(request) == AuthID(parsing: "bk@pbs"))
        #expect(await world.server.identify(RESTRequest(method: "GET", target: "/")) == nil)
    }

    @Test("shows as a task that its owner may watch and stop")
    func tasks() async throws {
        let answer = await world.answer(
            "GET", "/api2/json/backup", as: user, query: Self.parameters, headers: Self.backup)
        guard case .upgrade(_, let session) = answer else {
            Issue.record("no session")
            return
        }
        let other = try await world.user("other")
        let list = try await world.send("GET", "/nodes/localhost/tasks", as: user, query: [("running", "1")])
        let task = try #require(list.data.arrayValue?.first)
        #expect(task["worker_type"] == "backup" && task["worker_id"] == "store1:host/a" && task["user"] == "bk@pbs")
        #expect(task["endtime"] == nil && list.json["total"] == 1)
        #expect(try await world.send("GET", "/nodes/localhost/tasks", as: other).data == [])
        let upid = try #require(task["upid"]?.stringValue)
        let path = "/nodes/localhost/tasks/" + FormText.encode(upid)
        #expect(try await world.send("GET", path + "/status", as: user).data["status"] == "running")
        #expect(try await world.send("GET", path + "/status", as: other).status == 400)
        #expect(try await world.send("DELETE", path, as: other).status == 400)
        let log = try await world.send(
            "GET", path + "/log", as: user, query: [("start", "1"), ("limit", "500"), ("test-status", "true")])
        #expect(log.json["active"] == true && log.json["success"] == 1)
        #expect(log.header("content-type") == "application/json")
        let running = try await world.send("GET", "/admin/datastore/store1/snapshots", as: user)
        #expect(running.data.arrayValue?.map { $0["size"] } == [nil])
        #expect(try await world.send("DELETE", path, as: user).data == .null)
        await session.connectionEnded(.lost(reason: "aborted"))
        await world.tasks.waitUntilStopped(try UPID(parsing: upid))
        #expect(try await world.send("GET", path + "/status", as: user).data["exitstatus"] == "task aborted")
        let whole = try await world.send("GET", path + "/log", as: user, query: [("download", "1")])
        #expect(
            whole.header("content-disposition")?.hasPrefix("attachment") == true && whole.text.contains("TASK ERROR"))
    }

    @Test("gives tasks that nobody knows as unknown")
    func unknownTask() async throws {
        let upid = "UPID:box:00000001:00000001:00000001:00000001:backup:x:bk@pbs:"
        let path = "/nodes/localhost/tasks/" + FormText.encode(upid)
        #expect(try await world.send("GET", path + "/status", as: user).data["exitstatus"] == "unknown")
        #expect(try await world.send("GET", path + "/log", as: user).status == 400)
        #expect(try await world.send("GET", "/nodes/localhost/tasks/nonsense/status", as: user).status == 400)
    }
}

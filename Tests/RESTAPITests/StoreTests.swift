import AccessControl
import BackupFormats
import BackupServer
import Platform
import Tasks
import Testing

@Suite("Datastores over REST")
struct StoreTests {
    let world: World
    let admin: World.Caller

    init() async throws {
        world = try World()
        admin = try await world.user("admin", .admin)
    }

    func finish(_ reply: Reply) async throws -> JSONValue? {
        let task = try #require(reply.data.stringValue, "\(reply.text)")
        await world.tasks.waitUntilStopped(try UPID(parsing: task))
        let path = "/nodes/localhost/tasks/\(task.replacing("\\", with: "%5C"))/status"
        return try await world.send("GET", path, as: admin).data["exitstatus"]
    }

    @Test("are made, configured and forgotten")
    func life() async throws {
        let path = world.folder + "/stores/new"
        let made = try await world.send(
            "POST", "/config/datastore", as: admin,
            json: ["name": "new", "path": .string(path), "comment": "the first", "verify-new": true])
        #expect(try await finish(made) == "OK")
        let read = try await world.send("GET", "/config/datastore/new", as: admin)
        #expect(read.data == ["name": "new", "path": .string(path), "comment": "the first", "verify-new": true])
        #expect(read.json["digest"]?.stringValue?.count == 64)
        #expect(
            try await world.send("GET", "/admin/datastore", as: admin).data
                == [["store": "new", "comment": "the first", "mount-status": "nonremovable"]])
        let again = try await world.send(
            "POST", "/config/datastore", as: admin, json: ["name": "new", "path": .string(path)])
        #expect(again.status == 400)
        let changed = try await world.send(
            "PUT", "/config/datastore/new", as: admin, json: ["delete": ["comment"], "maintenance-mode": "read-only"])
        #expect(changed.status == 200)
        let stale = try await world.send(
            "PUT", "/config/datastore/new", as: admin,
            json: ["comment": "x", "digest": .string(String(repeating: "1", count: 64))])
        #expect(stale.status == 400)
        #expect(
            try await world.send("PUT", "/config/datastore/new", as: admin, json: ["maintenance-mode": "odd"]).status
                == 400)
        let gone = try await world.send("DELETE", "/config/datastore/new", as: admin)
        #expect(try await finish(gone) == "OK")
        #expect(try FileSystem.isFolder(path))
        #expect(try await world.send("DELETE", "/config/datastore/new", as: admin).status == 404)
        #expect(try await world.send("GET", "/config/datastore/new", as: admin).status == 400)
        let taken = try await world.send(
            "POST", "/config/datastore", as: admin,
            json: ["name": "new", "path": .string(path), "reuse-datastore": true])
        #expect(try await finish(taken) == "OK")
        let destroyed = try await world.send(
            "DELETE", "/config/datastore/new", as: admin, query: [("destroy-data", "1")])
        #expect(try await finish(destroyed) == "OK")
        #expect(try !FileSystem.exists(path))
    }

    @Test(
        "are made below the configured roots only",
        arguments: [
            "/etc/store", "/stores/../up", "relative/x", "/stores/a/./b",
        ])
    func roots(_ path: String) async throws {
        let full = path.hasPrefix("/stores") ? world.folder + path : path
        let reply = try await world.send(
            "POST", "/config/datastore", as: admin, json: ["name": "bad", "path": .string(full)])
        #expect(reply.status == 400)
    }

    @Test("do not lie inside each other")
    func nesting() async throws {
        try world.addStore("outer")
        for path in ["/stores/outer/inner", "/stores"] {
            let reply = try await world.send(
                "POST", "/config/datastore", as: admin, json: ["name": "inner", "path": .string(world.folder + path)])
            #expect(reply.status == 400, "\(reply.text)")
        }
    }

    @Test("refuse writers in read-only mode and everybody offline, with the message")
    func maintenance() async throws {
        try world.addStore("busy", settings: ["maintenance-mode": "type=read-only,message=back%20soon"])
        _ = try await world.send("PUT", "/config/datastore/busy", as: admin, json: ["comment": "x"])
        #expect(try await world.send("GET", "/admin/datastore/busy/groups", as: admin).status == 200)
        let write = try await world.send("POST", "/admin/datastore/busy/namespace", as: admin, json: ["name": "n"])
        #expect(write.status == 400 && write.text.contains("read-only maintenance mode: back soon"))
        _ = try await world.send("PUT", "/config/datastore/busy", as: admin, json: ["maintenance-mode": "offline"])
        #expect(try await world.send("GET", "/admin/datastore/busy/groups", as: admin).status == 400)
        #expect(try await world.send("GET", "/admin/datastore/busy/status", as: admin).status == 400)
        let usage = try await world.send("GET", "/status/datastore-usage", as: admin)
        #expect(usage.data.arrayValue?.first?["error"]?.stringValue?.contains("offline") == true)
        _ = try await world.send("PUT", "/config/datastore/busy", as: admin, json: ["delete": ["maintenance-mode"]])
        #expect(
            try await world.send("POST", "/admin/datastore/busy/namespace", as: admin, json: ["name": "n"]).status
                == 200)
    }

    @Test("are unknown to those without rights, whether they exist or not")
    func unknown() async throws {
        try world.addStore("store1")
        let nobody = try await world.user("nobody")
        for name in ["store1", "nosuch"] {
            #expect(try await world.send("GET", "/admin/datastore/\(name)/groups", as: nobody).status == 403)
            #expect(try await world.send("GET", "/admin/datastore/\(name)/status", as: nobody).status == 403)
            #expect(try await world.send("GET", "/config/datastore/\(name)", as: nobody).status == 403)
        }
        #expect(try await world.send("GET", "/admin/datastore/nosuch/groups", as: admin).status == 400)
        #expect(
            try await world.send("POST", "/config/datastore", as: nobody, json: ["name": "abc", "path": "/x"]).status
                == 403)
    }

    @Test("stand on a machine that tells how it does")
    func node() async throws {
        let status = try await world.send("GET", "/nodes/anything/status", as: admin)
        #expect((status.data["memory"]?["total"]?.intValue ?? 0) > 0)
        #expect(status.data["loadavg"]?.arrayValue?.count == 3)
        #expect(status.data["cpu"]?.doubleValue != nil && status.data["info"]?["fingerprint"] == "aa:bb")
        #expect(try await world.send("GET", "/nodes", as: admin).status == 403)
    }
}

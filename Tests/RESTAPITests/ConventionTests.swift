import AccessControl
import BackupFormats
import ManagementAPI
import RESTAPI
import Testing

@Suite("Requests and answers")
struct ConventionTests {
    let world: World
    let admin: World.Caller

    init() async throws {
        world = try World()
        try world.addStore("store1")
        admin = try await world.user("admin", .admin)
    }

    @Test("carry data in the json format, and how it went in extjs")
    func formats() async throws {
        let json = try await world.reply(await world.answer("GET", "/api2/json/version", as: admin))
        #expect(json.status == 200)
        #expect(json.header("content-type") == "application/json;charset=UTF-8")
        #expect(json.data["version"] == "4.1" && json.data["cairn"] == "0.1.0")
        let extjs = try await world.reply(await world.answer("GET", "/api2/extjs/version", as: admin))
        #expect(extjs.json["success"] == true && extjs.json["status"] == 200)
    }

    @Test(
        "are refused where the path leads nowhere",
        arguments: [
            ("GET", "/api2", 404), ("GET", "/api2/xml/version", 400), ("GET", "/api2/json/nosuch", 404),
            ("PATCH", "/api2/json/version", 404), ("GET", "/nosuch", 404), ("POST", "/", 400),
            ("GET", "/api2/json/.hidden", 400),
        ])
    func nowhere(_ method: String, _ path: String, _ status: Int) async throws {
        let reply = try await world.reply(await world.answer(method, path, as: admin))
        #expect(reply.status == status)
    }

    @Test("forgive empty parts of a path")
    func slashes() async throws {
        #expect(try await world.reply(await world.answer("GET", "//api2///json/version/", as: admin)).status == 200)
    }

    @Test("are 414 above 3072 bytes of path and query")
    func length() async throws {
        func status(_ count: Int) async throws -> Int {
            let path = "/api2/json/version?_dc="
            return try await world.reply(
                await world.answer("GET", path + String(repeating: "x", count: count - path.utf8.count + 1), as: admin)
            ).status
        }
        #expect(try await status(3072) == 200)
        #expect(try await status(3073) == 414)
    }

    @Test("need credentials before a path is said to be unknown")
    func unknownPathOfNobody() async throws {
        for path in ["/nosuch", "", "/version"] {
            let reply = try await world.send("GET", path)
            #expect(reply.status == 401, "\(path)")
            #expect(reply.header("content-type") == nil)
            #expect(reply.header("set-cookie")?.contains("__Host-PBSAuthCookie=") == true)
        }
        #expect(try await world.send("GET", "/ping").data == ["pong": true])
    }

    @Test("wait before they refuse credentials and privileges")
    func delays() async throws {
        let slow = try World(
            delays: RefusalDelays(unauthenticated: .milliseconds(300), unauthorized: .milliseconds(200)))
        let nobody = try await slow.user("nobody")
        func time(_ body: () async throws -> Reply) async throws -> (Int, Duration) {
            let start = ContinuousClock.now
            return (try await body().status, ContinuousClock.now - start)
        }
        let (status, waited) = try await time { try await slow.send("GET", "/version") }
        #expect(status == 401 && waited >= .milliseconds(290))
        let (forbidden, shorter) = try await time { try await slow.send("GET", "/nodes/localhost/status", as: nobody) }
        #expect(forbidden == 403 && shorter >= .milliseconds(190))
        let (login, again) = try await time {
            try await slow.send("POST", "/access/ticket", json: ["username": "nobody@pbs", "password": "wrong"])
        }
        #expect(login == 401 && again >= .milliseconds(290))
    }

    @Test("list what lies below a path")
    func directories() async throws {
        let root = try await world.send("GET", "", as: admin)
        for name in ["access", "admin", "config", "nodes", "version"] {
            #expect(root.data.arrayValue?.contains(["subdir": .string(name)]) == true, "\(name)")
        }
        #expect(try await world.send("GET", "/admin/datastore/store1", as: admin).data.arrayValue?.isEmpty == false)
        let node = try await world.send("GET", "/nodes/any", as: admin).data.arrayValue ?? []
        for name in ["certificates", "config", "status", "subscription", "tasks"] {
            #expect(node.contains(["subdir": .string(name)]), "\(name)")
        }
    }

    @Test("take parameters from query, form and JSON alike")
    func encodings() async throws {
        try world.addSnapshot("host/a", 1_700_000_000, in: "store1", owner: "admin@pbs")
        let path = "/admin/datastore/store1/notes"
        let name = [("backup-type", "host"), ("backup-id", "a"), ("backup-time", "1700000000")]
        let inQuery = try await world.send("PUT", path, as: admin, query: name + [("notes", "one two/ü")])
        #expect(inQuery.status == 200 && inQuery.data == .null)
        #expect(try await world.send("GET", path, as: admin, query: name).data == "one two/ü")
        let inForm = try await world.send("PUT", path, as: admin, form: name + [("notes", "form & = +")])
        #expect(inForm.status == 200)
        #expect(try await world.send("GET", path, as: admin, query: name).data == "form & = +")
        let inJSON = try await world.send(
            "PUT", path, as: admin,
            json: ["backup-type": "host", "backup-id": "a", "backup-time": 1_700_000_000, "notes": "a\nb"])
        #expect(inJSON.status == 200)
        #expect(try await world.send("GET", path, as: admin, query: name).data == "a\nb")
        let ignored = try await world.send("PUT", path, as: admin, query: name, json: ["notes": "x"])
        #expect(ignored.status == 400 && ignored.text.hasPrefix("parameter verification failed:\n"))
    }

    @Test(
        "name the parameter that is wrong, and why",
        arguments: [
            (
                "GET", "/admin/datastore/store1/namespace", "max-depth=8",
                "'max-depth': value must have a maximum value of 7"
            ),
            ("GET", "/admin/datastore/store1/snapshots", "backup-id=a b", "'backup-id': value does not match"),
            ("GET", "/admin/datastore/store1/snapshots", "x=1", "'x': schema does not allow additional properties"),
            ("GET", "/admin/datastore/xx/status", "", "'store': value must be at least 3 characters long"),
            ("GET", "/admin/datastore/store1/status", "verbose=t", "'verbose': Expected boolean value"),
            (
                "GET", "/admin/datastore/store1/download",
                "backup-type=host&backup-id=a&backup-time=1&file-name=../x.blob", "'file-name': value does not match"
            ),
            ("GET", "/nodes/localhost/tasks", "statusfilter=bad", "value 'bad' is not defined in the enumeration"),
        ])
    func parameterTexts(_ method: String, _ path: String, _ query: String, _ text: String) async throws {
        let target = "/api2/json\(path)?\(query.replacing(" ", with: "%20"))"
        let reply = try await world.reply(await world.answer(method, target, as: admin))
        #expect(reply.status == 400)
        #expect(reply.text.contains("parameter verification failed - ") && reply.text.contains(text), "\(reply.text)")
    }

    @Test("list wrong parameters by name in extjs")
    func errorsByName() async throws {
        let reply = try await world.reply(
            await world.answer("GET", "/api2/extjs/admin/datastore/store1/notes", as: admin))
        #expect(reply.status == 200)
        #expect(reply.json["success"] == false && reply.json["status"] == 400)
        #expect(reply.json["message"] == "parameter verification errors")
        #expect(
            Set(reply.json["errors"]?.objectValue?.members.map(\.name) ?? []) == [
                "backup-type", "backup-id", "backup-time",
            ])
    }

    @Test("have bodies of at most 512 KiB, and logs of a blob's size")
    func bodyLimits() async throws {
        #expect(world.server.bodyLimit(method: "PUT", target: "/api2/json/admin/datastore/store1/notes") == 524_288)
        #expect(
            world.server.bodyLimit(method: "POST", target: "//api2/json/admin/datastore/store1/upload-backup-log?x=1")
                == 16_777_216 + 44)
        let reply = try await world.send(
            "PUT", "/admin/datastore/store1/notes", as: admin, body: [UInt8](repeating: 0x20, count: 524_289),
            headers: [("content-type", "application/json")])
        #expect(reply.status == 400 && reply.text.contains("too large"))
    }

    @Test("are 501 where the endpoint is only known by name")
    func unbuilt() async throws {
        let reply = try await world.send("GET", "/config/traffic-control", as: admin)
        #expect(reply.status == 501 && reply.text.contains("GET /config/traffic-control"))
    }
}

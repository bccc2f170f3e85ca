import AccessControl
import BackupFormats
import CairnTestSupport
import Foundation
import Testing

@Suite("The server over REST")
struct ServerTests {
    let world: World
    let admin: World.Caller
    let reader: World.Caller

    init() async throws {
        world = try World()
        try world.addStore("store1")
        admin = try await world.user("admin", .admin)
        reader = try await world.user("reader", .datastoreReader)
    }

    @Test("describes itself to everybody as OpenAPI")
    func openAPI() async throws {
        let document = try await world.send("GET", "/openapi.json").json
        #expect(document["openapi"] == "3.1.0")
        let snapshots = try #require(document["paths"]?["/admin/datastore/{store}/snapshots"]?["get"])
        let parameters = snapshots["parameters"]?.arrayValue ?? []
        #expect(parameters.contains { $0["name"] == "store" && $0["in"] == "path" && $0["required"] == true })
        #expect(parameters.contains { $0["name"] == "backup-type" && $0["schema"]?["enum"] != nil })
        let files = document["paths"]?["/admin/datastore/{store}/files"]?["get"]?["responses"]?["200"]
        let shape = files?["content"]?["application/json"]?["schema"]?["properties"]?["data"]
        #expect(shape?["items"]?["required"] == ["filename"])
    }

    @Test("keeps settings, with a digest")
    func settings() async throws {
        let path = "/nodes/localhost/config"
        let before = try await world.send("GET", path, as: admin).json
        #expect(before["data"] == [:])
        let change: JSONValue = ["description": "in the cellar", "task-log-max-days": 30]
        #expect(try await world.send("PUT", path, as: admin, json: change).status == 200)
        let after = try await world.send("GET", path, as: admin).json
        #expect(after["data"]?.sorted() == change.sorted() && after["digest"] != before["digest"])
        let stale: JSONValue = ["delete": ["description"], "digest": before["digest"] ?? .null]
        #expect(try await world.send("PUT", path, as: admin, json: stale).status == 400)
        let fresh: JSONValue = ["delete": ["description"], "digest": after["digest"] ?? .null]
        #expect(try await world.send("PUT", path, as: admin, json: fresh).status == 200)
        #expect(try await world.send("GET", path, as: admin).data == ["task-log-max-days": 30])
        #expect(try await world.send("GET", path, as: reader).status == 403)
    }

    @Test("knows no subscription, and says so in the usual form")
    func subscription() async throws {
        let reply = try await world.send("GET", "/nodes/localhost/subscription", as: reader)
        #expect(reply.status == 200 && reply.data["status"] == "notfound")
    }

    @Test("writes down who changed what, without secrets")
    func audit() async throws {
        let user: JSONValue = ["userid": "new@pbs", "password": "not-to-be-seen", "comment": "hello"]
        #expect(try await world.send("POST", "/access/users", as: admin, json: user).status == 200)
        #expect(try await world.send("POST", "/access/users", as: admin, json: user).status == 400)
        #expect(try await world.send("DELETE", "/access/users/new@pbs", as: admin).status == 200)
        _ = try await world.send("POST", "/access/ticket", json: ["username": "admin@pbs", "password": "secret-admin"])
        _ = try await world.send("GET", "/access/users", as: admin)

        let reply = try await world.send("GET", "/nodes/localhost/audit", as: admin)
        let records = reply.data.arrayValue ?? []
        #expect(records.map { $0["action"] } == ["DELETE", "POST"] && reply.json["total"] == 2)
        #expect(records.allSatisfy { $0["user"] == "admin@pbs" && $0["address"] == "127.0.0.1:1" })
        #expect(records.last?["object"] == "/api2/json/access/users")
        #expect(records.last?["parameters"]?["comment"] == "hello" && !reply.text.contains("not-to-be-seen"))
        let filtered = try await world.send(
            "GET", "/nodes/localhost/audit", as: admin, query: [("objectfilter", "new@pbs"), ("limit", "1")])
        #expect(filtered.data.arrayValue?.count == 1)
        #expect(try await world.send("GET", "/nodes/localhost/audit", as: reader).status == 403)

        let file = world.folder + "/state/audit.log"
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(!text.contains("not-to-be-seen") && text.split(separator: "\n").count == 2)
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test("compresses long answers for those who take deflate")
    func deflate() async throws {
        let plain = try await world.send("GET", "/access/roles", as: admin)
        let packed = try await world.send(
            "GET", "/access/roles", as: admin, headers: [("accept-encoding", "gzip, deflate")])
        #expect(packed.header("content-encoding") == "deflate" && plain.header("content-encoding") == nil)
        #expect(packed.bytes.count < plain.bytes.count)
        let folder = try TemporaryFolder()
        try Data(packed.bytes).write(to: URL(fileURLWithPath: folder.path + "/answer"))
        let inflated = try python(
            "import sys, zlib; print(zlib.decompress(open(sys.argv[1], 'rb').read()).decode(), end='')",
            folder.path + "/answer")
        #expect(inflated == plain.text)
        let gzip = try await world.send("GET", "/access/roles", as: admin, headers: [("accept-encoding", "gzip")])
        #expect(gzip.header("content-encoding") == nil)
    }

    @Test("says of what is not built that it is not")
    func notBuilt() async throws {
        for (method, path) in [
            ("GET", "/access/tfa"), ("GET", "/config/traffic-control"), ("GET", "/config/notifications/targets"),
            ("POST", "/access/openid/login"), ("GET", "/config/s3"),
        ] {
            let reply = try await world.send(method, path, as: admin)
            #expect(reply.status == 501 && reply.text.contains("has not learned"), "\(path): \(reply.text)")
        }
    }
}

import AccessControl
import BackupFormats
import BackupServer
import Tasks
import Testing

@Suite("The endpoints of jobs")
struct JobEndpointTests {
    @Test("make, show, change and remove a job of each kind", arguments: JobSection.allCases)
    func lifeOfAJob(_ section: JobSection) async throws {
        let world = try World()
        try world.addStore("store1")
        try world.addStore("store2")
        let admin = try await world.user("admin", .admin)
        let config = "/config/\(section.rawValue)"
        var properties: JSONObject = ["store": "store1", "schedule": "daily", "comment": "first"]
        switch section {
        case .prune: properties["keep-last"] = 3
        case .verify: properties["outdated-after"] = 30
        case .sync: properties["remote-store"] = "store2"
        }
        var sent = properties
        sent["id"] = "job-1"
        #expect(try await world.send("POST", config, as: admin, json: .object(sent)).data == .null)
        let again = try await world.send("POST", config, as: admin, json: .object(sent))
        #expect(again.status == 400)
        #expect(again.text == "parameter verification failed - 'id': job 'job-1' already exists.")

        let read = try await world.send("GET", "\(config)/job-1", as: admin)
        #expect(read.data.sorted() == JSONValue.object(sent).sorted())
        let digest = try #require(read.json["digest"]?.stringValue)
        let listed = try await world.send("GET", config, as: admin)
        #expect(listed.data.arrayValue?.count == 1 && listed.json["digest"]?.stringValue == digest)
        let state = try await world.send("GET", "/admin/\(section.rawValue)", as: admin, query: [("store", "store1")])
        #expect(state.data.arrayValue?.first?["next-run"]?.intValue != nil)
        #expect(
            try await world.send("GET", "/admin/\(section.rawValue)", as: admin, query: [("store", "store2")]).data
                == [])

        let stale = String(repeating: "0", count: 64)
        #expect(
            try await world.send("PUT", "\(config)/job-1", as: admin, json: ["comment": "x", "digest": .string(stale)])
                .status == 400)
        let changed = try await world.send(
            "PUT", "\(config)/job-1", as: admin,
            json: ["schedule": "mon 3:00", "delete": ["comment"], "digest": .string(digest)])
        #expect(changed.status == 200)
        properties["comment"] = nil
        properties["schedule"] = "mon 3:00"
        properties["id"] = "job-1"
        #expect(
            try await world.send("GET", "\(config)/job-1", as: admin).data.sorted()
                == JSONValue.object(properties).sorted())

        #expect(try await world.send("DELETE", "\(config)/job-1", as: admin).status == 200)
        for (method, path) in [("GET", config), ("PUT", config), ("DELETE", config)] {
            #expect(try await world.send(method, "\(path)/job-1", as: admin).status == 404)
        }
        #expect(try await world.send("POST", "/admin/\(section.rawValue)/job-1/run", as: admin).status == 404)
    }

    @Test("refuse what cannot be carried out")
    func refusals() async throws {
        let world = try World()
        try world.addStore("store1")
        let admin = try await world.user("admin", .admin)
        func status(_ kind: String, _ json: JSONValue) async throws -> String {
            let reply = try await world.send("POST", "/config/\(kind)", as: admin, json: json)
            return reply.status == 400 ? reply.text : "\(reply.status)"
        }
        #expect(
            try await status("prune", ["id": "j-1", "store": "store1", "schedule": "8 o'clock"])
                .contains("'schedule': "))
        #expect(
            try await status("prune", ["id": "j-1", "store": "store1"]).contains("'schedule': property is missing"))
        #expect(try await status("verify", ["id": "j-1", "store": "nowhere"]) == "no such datastore 'nowhere'")
        #expect(
            try await status("verify", ["id": "j-1", "store": "store1", "ns": "a/b", "max-depth": 6])
                .contains("'max-depth'"))
        #expect(
            try await status(
                "sync", ["id": "j-1", "store": "store1", "remote": "site2", "remote-store": "store1"])
                == "no such remote 'site2'")
        #expect(
            try await status(
                "sync", ["id": "j-1", "store": "store1", "remote-store": "store1", "group-filter": ["type:tape"]]
            )
            .contains("group filter"))
        #expect(try await status("verify", ["id": "j", "store": "store1"]).contains("'id'"))
        #expect(
            try await world.send("PUT", "/config/datastore/store1", as: admin, json: ["gc-schedule": "sometimes"])
                .status == 400)
    }

    @Test("show and take what somebody has the rights for")
    func rights() async throws {
        let world = try World()
        try world.addStore("store1")
        let admin = try await world.user("admin", .admin)
        let reader = try await world.user("reader", .datastoreReader, on: "/datastore/store1")
        let nobody = try await world.user("nobody")
        for kind in ["prune", "verify"] {
            let job: JSONValue = ["id": "j-1", "store": "store1", "schedule": "daily"]
            #expect(try await world.send("POST", "/config/\(kind)", as: nobody, json: job).status == 403)
            #expect(
                try await world.send("POST", "/config/\(kind)", as: reader, json: job).status
                    == (kind == "verify" ? 200 : 403))
            if kind == "prune" {
                #expect(try await world.send("POST", "/config/\(kind)", as: admin, json: job).status == 200)
            }
            #expect(try await world.send("GET", "/config/\(kind)", as: nobody).data == [])
            #expect(try await world.send("GET", "/config/\(kind)/j-1", as: nobody).status == 403)
            #expect(try await world.send("GET", "/config/\(kind)", as: reader).data.arrayValue?.count == 1)
            #expect(try await world.send("DELETE", "/config/\(kind)/j-1", as: nobody).status == 403)
            #expect(try await world.send("POST", "/admin/\(kind)/j-1/run", as: nobody).status == 403)
        }
    }

    @Test("run a job as a task that those see who could change it")
    func runNow() async throws {
        let world = try World()
        try world.addStore("store1")
        let admin = try await world.user("admin", .admin)
        let reader = try await world.user("reader", .datastoreReader, on: "/datastore/store1")
        let other = try await world.user("other", .datastoreAudit, on: "/datastore/store1")
        #expect(
            try await world.send("POST", "/config/verify", as: admin, json: ["id": "v-1", "store": "store1"]).status
                == 200)
        let task = try #require(try await world.send("POST", "/admin/verify/v-1/run", as: admin).data.stringValue)
        let upid = try UPID(parsing: task)
        #expect(upid.workerType == "verificationjob" && upid.workerID == "store1:v-1")
        await world.tasks.waitUntilStopped(upid)
        let listed = try await world.send("GET", "/admin/verify", as: admin)
        #expect(listed.data.arrayValue?.first?["last-run-upid"]?.stringValue == task)
        #expect(listed.data.arrayValue?.first?["next-run"] == nil)
        #expect(try await world.send("GET", "/nodes/localhost/tasks", as: reader).data.arrayValue?.count == 1)
        #expect(try await world.send("GET", "/nodes/localhost/tasks", as: other).data == [])
    }

    @Test("tell of what is overdue")
    func alerts() async throws {
        let world = try World()
        try world.addStore("store1", settings: ["overdue-after": "1h"])
        try world.addSnapshot("host/web", 1_700_000_000, in: "store1", owner: "root@pam")
        let auditor = try await world.user("auditor", .datastoreAudit, on: "/datastore/store1")
        let nobody = try await world.user("nobody")
        try world.alerts.refresh()
        let list = try #require(try await world.send("GET", "/admin/alerts", as: auditor).data.arrayValue)
        #expect(list.count == 1)
        #expect(list.first?["type"] == "group" && list.first?["backup-id"] == "web")
        #expect(list.first?["since"]?.intValue == 1_700_003_600)
        #expect(try await world.send("GET", "/admin/alerts", as: nobody).data == [])
    }
}

import AccessControl
import BackupFormats
import Foundation
import PeerSync
import PeerSyncProtocol
import StateDatabase
import Synchronization
import Testing

@Suite("Peers over REST")
struct PeerTests {
    let peers = PretendPeers()
    let world: World
    let admin: World.Caller
    let reader: World.Caller

    init() async throws {
        world = try World(peers: peers)
        admin = try await world.user("admin", .admin)
        reader = try await world.user("reader", .audit)
    }

    private func see(_ body: (inout PretendPeers.State) -> Void) { peers.state.withLock { body(&$0) } }

    @Test("are for those who may look at the system, and changed by those who may change it")
    func rights() async throws {
        let nobody = try await world.user("nobody", .datastoreAdmin)
        for path in ["/peers", "/peers/self", "/peers/tokens", "/peers/operations", "/peers/results"] {
            #expect(try await world.send("GET", path, as: reader).status == 200, "\(path)")
            #expect(try await world.send("GET", path, as: nobody).status == 403, "\(path)")
        }
        #expect(try await world.send("POST", "/peers/tokens", as: reader, json: [:]).status == 403)
        #expect(try await world.send("DELETE", "/peers/peer/x", as: reader).status == 403)
        #expect(try await world.send("DELETE", "/peers/peer/x", as: admin).status == 404)
    }

    @Test("are told of with role, state, last sign of life and permissions")
    func lists() async throws {
        let hub = try HubAddress(parsing: "https://hub.example.org:8007", fingerprint: "aa:bb")
        let grant = try PeerGrant(.readOperations, scopes: ["plan:web", "!repo:old"])
        see {
            $0.peers = [
                PretendPeers.overview("hub", role: .hub, address: hub, grants: [grant]),
                PretendPeers.overview("operations"),
            ]
        }
        let list = try await world.send("GET", "/peers", as: reader).data.arrayValue ?? []
        #expect(list.map { $0["role"] } == ["hub", "member"])
        #expect(list.first?["state"] == "connected" && list.first?["last-heartbeat"] == 1_700_000_000)
        #expect(list.first?["url"] == "https://hub.example.org:8007" && list.first?["fingerprint"] == "aa:bb")
        #expect(list.first?["permissions"] == ["read-operations=plan:web,!repo:old"])
        // A member may be called like a part of the API.
        #expect(
            try await world.send("GET", "/peers/peer/operations", as: reader).data["key-id"] == "ed25519.operations")
        #expect(try await world.send("GET", "/peers/peer/unknown", as: reader).status == 404)
        #expect(try await world.send("GET", "/peers/self", as: reader).data["key-id"] == "ed25519.own")
    }

    @Test("show their settings without what opens anything")
    func settings() async throws {
        var repo = WireRepo()
        repo.id = "main"
        repo.uri = "rest:https://user:hunter2@repo.example.org/x"
        repo.password = "hunter2"
        repo.env = ["KEY=hunter2"]
        var plan = WirePlan()
        plan.id = "web"
        var hook = WireHook()
        hook.actionCommand.command = "curl hunter2"
        plan.hooks = [hook]
        repo.hooks = [hook]
        var config = WireRemoteConfig()
        config.repos = [repo]
        config.plans = [plan]
        see { [config] in $0.peers = [PretendPeers.overview("box2", config: config)] }
        let reply = try await world.send("GET", "/peers/peer/box2", as: reader)
        #expect(reply.data["config"]?["repos"]?.arrayValue?.first?["uri"] == "rest:https://repo.example.org/x")
        #expect(reply.data["config"]?["plans"]?.arrayValue?.first?["id"] == "web")
        #expect(!reply.text.contains("hunter2"))
    }

    @Test("make tokens that are good once for fifteen minutes unless told otherwise")
    func tokens() async throws {
        let made = try await world.send("POST", "/peers/tokens", as: admin, json: ["label": "web"])
        #expect(made.data["token"] == "ed25519.own:topsecret#box" && made.data["warnings"] == [])
        #expect(made.data["expires"] == 1900 && made.data["max-uses"] == 1)
        let open = try await world.send(
            "POST", "/peers/tokens", as: admin,
            json: ["lifetime": 0, "max-uses": 0, "permissions": ["read-config", "read-operations=plan:a"]])
        #expect(open.data["expires"] == nil && open.data["max-uses"] == nil)
        #expect(open.data["warnings"]?.arrayValue?.count == 1)
        see { #expect($0.lastTokenRequest?.grants.map(\.kind) == [.readConfig, .readOperations]) }
        let list = try await world.send("GET", "/peers/tokens", as: reader)
        #expect(list.data.arrayValue?.count == 2 && !list.text.contains("topsecret"))
        #expect(try await world.send("DELETE", "/peers/tokens/t1", as: admin).status == 200)
        #expect(try await world.send("DELETE", "/peers/tokens/t9", as: admin).status == 404)
    }

    @Test(
        "refuse permissions that cannot be read",
        arguments: ["everything", "read-operations=", "read-operations=x:y", "read-config=!*", ""])
    func wrongPermissions(_ text: String) async throws {
        let reply = try await world.send("POST", "/peers/tokens", as: admin, json: ["permissions": [.string(text)]])
        #expect(reply.status == 400 && reply.text.contains("permissions/[0]"), "\(reply.text)")
        see { #expect($0.lastTokenRequest == nil) }
    }

    @Test("add up permissions of one kind")
    func samePermission() async throws {
        see { $0.peers = [PretendPeers.overview("box2")] }
        let reply = try await world.send(
            "PUT", "/peers/peer/box2/permissions", as: admin,
            json: ["permissions": ["read-operations=plan:a", "read-operations=plan:b,plan:a"]])
        #expect(reply.data["permissions"] == ["read-operations=plan:a,plan:b"])
        let none = try await world.send("PUT", "/peers/peer/box2/permissions", as: admin, json: ["permissions": []])
        #expect(none.data["permissions"] == [])
        let missing = try await world.send("PUT", "/peers/peer/box2/permissions", as: admin, json: [:])
        #expect(missing.status == 400)
    }

    @Test("join a hub by token and address, and keep the token out of the audit log")
    func join() async throws {
        let good: JSONValue = [
            "token": "ed25519.k:topsecret#hub", "url": "https://hub:8007", "permissions": ["read-operations"],
        ]
        #expect(try await world.send("POST", "/peers", as: admin, json: good).data["instance"] == "hub")
        see { #expect($0.lastJoin?.token.secret == "topsecret" && $0.lastJoin?.address.port == 8007) }
        #expect(try await world.send("DELETE", "/peers/peer/hub", as: admin).status == 200)
        for wrong: JSONValue in [
            ["token": "nonsense", "url": "https://hub"], ["token": "k:s#h", "url": "ftp://hub"],
            ["token": "k:s#h", "url": "https://hub", "fingerprint": "aa"],
        ] {
            #expect(try await world.send("POST", "/peers", as: admin, json: wrong).status == 400, "\(wrong)")
        }
        let audit = try await world.send("GET", "/nodes/localhost/audit", as: admin)
        #expect(audit.data.arrayValue?.count == 2 && !audit.text.contains("topsecret"))
    }

    @Test("answer 400 to what another instance refuses, since 401 would end the caller's own session")
    func refusedElsewhere() async throws {
        for kind in [BackupFailure.Kind.notAuthenticated, .unavailable, .notAuthorized] {
            see { $0.failure = BackupFailure(kind, "the hub's certificate is not trusted") }
            let reply = try await world.send("GET", "/peers", as: reader)
            #expect(reply.status == 400 && reply.text.contains("not trusted"))
        }
    }

    @Test("give settings to members as Backrest writes them")
    func push() async throws {
        see { $0.peers = [PretendPeers.overview("box2")] }
        let plan: JSONValue = ["id": "web", "repo": "main", "paths": ["/srv"], "schedule": ["cron": "0 3 * * *"]]
        let sent = try await world.send(
            "POST", "/peers/peer/box2/config", as: admin, json: ["plans": [plan], "delete-plans": ["old"]])
        #expect(sent.data["outcome"] == "sent" && sent.data["subjects"] == ["plan:web"])
        see {
            #expect($0.lastPush?.plans.first?.schedule.cron == "0 3 * * *")
            #expect($0.lastPush?.plansToDelete == ["old"])
        }
        let typo = try await world.send(
            "POST", "/peers/peer/box2/config", as: admin, json: ["plans": [["id": "web", "pathes": ["/srv"]]]])
        #expect(typo.status == 400 && typo.text.contains("pathes"))
        #expect(try await world.send("POST", "/peers/peer/box2/config", as: admin, json: [:]).status == 400)
        #expect(
            try await world.send("GET", "/peers/peer/box2/config", as: reader).data.arrayValue?.first?["id"] == 7)
    }

    @Test("list operations by what was asked, and give one with its whole message")
    func operations() async throws {
        let found = try operation()
        see {
            $0.peers = [PretendPeers.overview("box2")]
            $0.operations = [found]
        }
        let list = try await world.send(
            "GET", "/peers/operations", as: reader,
            query: [
                ("peer", "box2"), ("failed", "1"), ("since", "1700000000"), ("kind", "backup"), ("kind", "prune"),
                ("limit", "5"),
            ])
        see {
            #expect($0.lastFilter?.keyID == "ed25519.box2" && $0.lastFilter?.statuses == [4, 5])
            #expect($0.lastFilter?.since == 1_700_000_000_000 && $0.lastFilter?.kinds == [100, 103])
            #expect($0.lastFilter?.limit == 5)
        }
        let first = try #require(list.data.arrayValue?.first)
        #expect(first["kind"] == "backup" && first["status"] == "error" && first["starttime"] == 1_700_000_000)
        #expect(first["instance"] == "box2" && first["original-id"] == 42 && first["message"] == "disk is full")
        let id = try #require(first["id"]?.intValue)
        let whole = try await world.send("GET", "/peers/operations/\(id)", as: reader)
        #expect(whole.data["operation"]?["unixTimeStartMs"] == "1700000000123")
        #expect(whole.data["operation"]?["operationBackup"] != nil)
        #expect(try await world.send("GET", "/peers/operations/99", as: reader).status == 404)
        #expect(try await world.send("GET", "/peers/operations", as: reader, query: [("kind", "x")]).status == 400)
        #expect(try await world.send("GET", "/peers/operations", as: reader, query: [("limit", "0")]).status == 400)
    }

    @Test("show the last result of each plan, and which is overdue")
    func results() async throws {
        let found = try operation()
        see {
            $0.results = [
                PlanResult(
                    keyID: "ed25519.box2", instanceID: "box2", repo: "main", plan: "web", last: found, overdueSince: nil
                ),
                PlanResult(
                    keyID: "ed25519.box2", instanceID: "box2", repo: "main", plan: "db", last: nil,
                    overdueSince: 1_700_000_500),
            ]
        }
        let list = try await world.send("GET", "/peers/results", as: reader).data.arrayValue ?? []
        #expect(list.first?["status"] == "error" && list.first?["overdue-since"] == nil)
        #expect(list.last?["status"] == nil && list.last?["overdue-since"] == 1_700_000_500)
    }

    @Test("are among the alerts, for those who may look at the system")
    func alerts() async throws {
        let owner = try await world.user("owner", .datastoreAdmin)
        see {
            $0.alerts = [
                PeerAlert(
                    subject: .overdue, keyID: "ed25519.box2", instanceID: "box2", repo: "main", plan: "db",
                    since: 1_700_000_500, text: "plan 'db' on 'box2' should have been backed up")
            ]
        }
        let seen = try await world.send("GET", "/admin/alerts", as: reader).data.arrayValue ?? []
        #expect(seen.map { $0["peer"] } == ["box2"] && seen.first?["since"] == 1_700_000_500)
        #expect(try await world.send("GET", "/admin/alerts", as: owner).data == [])
    }

    @Test("are counted for Prometheus, each plan once whatever members send")
    func metrics() async throws {
        let token = "token-of-the-metrics"
        let world = try World(metricsToken: token, peers: peers)
        let found = try operation()
        let result = PlanResult(
            keyID: "ed25519.box2", instanceID: "box2", repo: "main", plan: "web", last: found, overdueSince: 5)
        see {
            $0.peers = [PretendPeers.overview("box2")]
            $0.results = [result, result]
        }
        let text = try await world.reply(
            await world.answer("GET", "/metrics", headers: [("authorization", "Bearer \(token)")])
        ).text
        for line in [
            #"cairn_peers{role="member",state="connected"} 1"#, #"cairn_peer_operations{peer="box2"} 3"#,
            #"cairn_peer_plan_overdue{peer="box2",plan="web",repo="main"} 1"#,
            #"cairn_peer_plan_failed{peer="box2",plan="web",repo="main"} 1"#,
        ] {
            #expect(text.components(separatedBy: "\n\(line)\n").count == 2, "\(line)")
        }
    }

    @Test("hand on logs, whole or as far as they go")
    func logs() async throws {
        see { $0.log = [Array("first\n".utf8), Array("second\n".utf8)] }
        let whole = try await world.send("GET", "/peers/operations/1/log", as: reader, query: [("follow", "1")])
        #expect(whole.text == "first\nsecond\n" && whole.header("content-type")?.hasPrefix("text/plain") == true)
        see {
            $0.log = [Array("first\n".utf8)]
            $0.logStaysOpen = true
        }
        let part = try await world.send("GET", "/peers/operations/1/log", as: reader)
        #expect(part.text == "first\n")
        see { $0.failure = BackupFailure(.conflict, "the peer 'box2' is not connected") }
        #expect(try await world.send("GET", "/peers/operations/1/log", as: reader).status == 400)
    }

    /// A failed backup of a member, as the database numbers it.
    private func operation() throws -> PeerOperation {
        var message = WireOperation()
        message.id = 42
        message.flowID = 42
        message.unixTimeStartMs = 1_700_000_000_123
        message.operationBackup = WireOperationBackup()
        let record = PeerOperationRecord(
            keyID: "ed25519.box2", originalID: 42, originalFlow: 42, counter: 1, kind: 100, status: 4,
            start: 1_700_000_000_123, end: 1_700_000_060_000, instance: "box2", repo: "main", repoGUID: "guid",
            plan: "web", message: "disk is full", payload: [])
        _ = try world.database.write { try $0.put([record]) }
        let stored = try #require(try world.database.read { try $0.peerOperations(PeerOperationFilter()) }.first)
        return PeerOperation(stored: stored, message: message, instanceID: "box2")
    }
}

import AccessControl
import BackupFormats
import BlobCoding
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import SwiftProtobuf
import Synchronization
import Testing

@testable import PeerSyncEndpoint
@testable import StateDatabase

@Suite("Calls for administrators of peers", .timeLimit(.minutes(5)))
struct CallTests {
    @Test("take what the API takes, and what clients of Backrest send")
    func credentials() async throws {
        let world = try await EndpointWorld()
        let request: [UInt8] = []
        for user in [nil, "reader@pbs:wrong", "reader:wrong", "nobody@pbs:x", ":", "x"] {
            #expect(try await world.refusal(.operations, request, as: user) == "401 unauthenticated", "\(user ?? "-")")
        }
        #expect(try await world.refusal(.operations, request, as: EndpointWorld.guest) == "403 permission_denied")
        #expect(try await world.refusal(.makeToken, request, as: EndpointWorld.reader) == "403 permission_denied")
        // The realm of our own users may be left out.
        for user in [EndpointWorld.reader, "reader:the-reader-secret", EndpointWorld.boss] {
            #expect(try await world.call(.operations, request, as: user).status == 200, "\(user)")
        }

        let id = try #require(AuthID(parsing: "boss@pbs!hub"))
        let secret = try world.access.addToken(id, by: world.access.inProcessRoot())
        try world.access.changeACL(
            ACLChange(path: .root, role: .admin, subject: id), by: world.access.inProcessRoot())
        let login = try await logIn(world, "boss", "the-boss-secret")
        for (name, value) in [
            ("authorization", "PBSAPIToken=\(id):\(secret)"), ("authorization", "Bearer \(id):\(secret)"),
            ("authorization", "bearer \(login)"), EndpointWorld.basic("\(id):\(secret)"),
        ] {
            let answer = try await world.call(.config, [], as: nil, headers: [(name, value)])
            #expect(answer.status == 200, "\(value)")
        }
        for value in ["Bearer \(id):wrong", "Bearer \(login)x", "Bearer PBS:", "Bearer", "Basic =", "Digest x"] {
            let refusal = try await world.refusal(.config, [], as: nil, headers: [("authorization", value)])
            #expect(refusal == "401 unauthenticated", "\(value)")
        }
        // A browser sends cookies by itself, so that one alone must not be enough.
        let cookie = ("cookie", "\(AuthCookie.name)=\(PercentCoding.encode(login))")
        #expect(try await world.refusal(.config, [], as: nil, headers: [cookie]) == "401 unauthenticated")
    }

    private func logIn(_ world: EndpointWorld, _ user: String, _ password: String) async throws -> String {
        let body = Array("{\"username\": \"\(user)\", \"password\": \"\(password)\"}".utf8)
        let answer = try await world.call(.login, body, type: "application/json", as: nil)
        #expect(answer.status == 200)
        return try #require(try JSONValue(parsing: answer.body)["token"]?.stringValue)
    }

    @Test("let nobody log in with a wrong password, whoever it is")
    func logins() async throws {
        let world = try await EndpointWorld()
        var texts: Set<String> = []
        for user in ["boss", "boss@pbs", "nobody", "root@pam", "", "a@b@c!d"] {
            let body = Array("{\"username\": \"\(user)\", \"password\": \"wrong\", \"other\": 1}".utf8)
            let answer = try await world.call(.login, body, type: "application/json", as: nil)
            #expect(answer.status == 401)
            texts.insert(String(decoding: answer.body, as: UTF8.self))
        }
        #expect(texts.count == 1)
    }

    @Test("have the type, the version and the size that they must have")
    func heads() async throws {
        let world = try await EndpointWorld()
        let get = try await world.response(
            RESTRequest(
                method: "GET", target: PeerCall.config.rawValue, headers: [("content-type", "application/json")]))
        #expect(get.status == 405 && get.header("allow") == "POST")
        let type = try await world.call(.config, [], type: "application/grpc-web")
        #expect(type.status == 415)
        #expect(type.response.header("accept-post") == "application/proto, application/json")
        let version = ("connect-protocol-version", "3")
        #expect(try await world.refusal(.config, [], headers: [version]) == "400 invalid_argument")
        #expect(
            try await world.refusal(.config, [], headers: [("connect-timeout-ms", "x")]) == "400 invalid_argument")
        #expect(
            try await world.refusal(.config, [], headers: [("content-encoding", "br")]) == "501 unimplemented")
        #expect(try await world.refusal(.operations, [0xff, 0xff]) == "400 invalid_argument")
        #expect(
            try await world.refusal(.operations, Array("[".utf8), type: "application/json") == "400 invalid_argument")
        let large = [UInt8](repeating: 0, count: 1 << 20 + 1)
        #expect(try await world.refusal(.operations, large) == "429 resource_exhausted")
        let bomb = try #require(Gzip.compress(large))
        #expect(
            try await world.refusal(.operations, bomb, headers: [("content-encoding", "gzip")])
                == "429 resource_exhausted")
        for call in [PeerCall.setConfig, .clearHistory, .backup] {
            let answer = try await world.call(call, Array("{}".utf8), type: "application/json")
            #expect(answer.status == 501)
            #expect(String(decoding: answer.body, as: UTF8.self).contains("cairn"), "\(call)")
        }
    }

    @Test("make pairing tokens, in both forms of messages, and write it down")
    func tokens() async throws {
        let world = try await EndpointWorld()
        let json = """
            {"label": "office", "ttlSeconds": "600", "maxUses": 2,
             "permissions": [{"type": "PERMISSION_READ_OPERATIONS", "scopes": ["plan:web"]}, {"type": 2}]}
            """
        let answer = try await world.call(.makeToken, Array(json.utf8), type: "application/json")
        #expect(String(decoding: answer.body, as: UTF8.self) == #"{"token":"ed25519.own:s3cret#cairn-one"}"#)
        #expect(answer.response.header("content-type") == "application/json")

        var request = WireGeneratePairingTokenRequest()
        request.label = "for ever"
        let zipped = try #require(Gzip.compress(try request.serializedBytes()))
        let binary = try await world.call(.makeToken, zipped, headers: [("content-encoding", "gzip")])
        #expect(binary.response.header("content-type") == "application/proto")
        let message = try WireGeneratePairingTokenResponse(serializedBytes: binary.body)
        #expect(try PairingToken(parsing: message.token).secret == "s3cret")

        let asked = world.administration.tokenRequests.withLock { $0 }
        #expect(asked.map(\.lifetime) == [600, nil] && asked.map(\.maxUses) == [2, nil])
        #expect(
            asked.first?.grants == [
                try PeerGrant(.readOperations, scopes: ["plan:web"]), try PeerGrant(.readConfig, scopes: ["*"]),
            ])
        let bad = #"{"permissions": [{"type": 9}]}"#
        #expect(
            try await world.refusal(.makeToken, Array(bad.utf8), type: "application/json") == "400 invalid_argument")
        let records = try world.access.audit.records(AuditFilter()).records
        let made = records.filter { $0.object == PeerCall.makeToken.rawValue }
        #expect(made.map(\.user) == ["boss@pbs", "boss@pbs"])
        #expect(!made.contains { "\($0.json)".contains("s3cret") })
    }

    @Test("show who we are and whom we know, without a secret")
    func config() async throws {
        let world = try await EndpointWorld()
        let answer = try await world.call(.config, [], type: "application/json", as: EndpointWorld.reader)
        let text = String(decoding: answer.body, as: UTF8.self)
        let json = try JSONValue(parsing: answer.body)
        #expect(json["instance"] == "cairn-one" && json["sync"]?["identity"]?["keyid"] != nil || text.contains("keyId"))
        #expect(json["sync"]?["knownHosts"]?.arrayValue?.first?["instanceUrl"] == "https://hub.example.org:8007")
        #expect(json["sync"]?["authorizedClients"]?.arrayValue?.count == 1)
        #expect(json["sync"]?["pairingTokens"]?.arrayValue?.first?["label"] == "office")
        #expect(!text.contains("never-shown") && !text.contains("secret"))
    }

    private func operation(_ id: Int64, plan: String, key: String = FakeAdministration.memberKey) throws
        -> PeerOperation
    {
        var message = WireOperation()
        message.id = id + 100
        message.planID = plan
        message.instanceID = "member"
        message.logref = "the-members-own"
        let record = PeerOperationRecord(
            keyID: key, originalID: id + 100, originalFlow: 9, counter: id * 10, kind: 100, status: 3, start: id,
            end: id,
            instance: "member", repo: "r", repoGUID: "g", plan: plan, message: "",
            payload: try message.serializedBytes())
        return PeerOperation(
            stored: StoredPeerOperation(id: id, flow: 7, record: record), message: message, instanceID: "member")
    }

    @Test("list operations, those that are wanted, with the numbers that they have here")
    func operations() async throws {
        let world = try await EndpointWorld()
        let stored = [
            try operation(4, plan: "web"), try operation(3, plan: "db"), try operation(2, plan: "web", key: "other"),
            try operation(1, plan: "web"),
        ]
        world.administration.stored.withLock { $0 = stored }
        func ids(_ json: String) async throws -> [Int64] {
            let answer = try await world.call(.operations, Array(json.utf8), type: "application/json")
            return try WireOperationList(jsonUTF8Bytes: answer.body).operations.map(\.id)
        }
        #expect(try await ids("{}") == [1, 2, 3, 4])
        #expect(try await ids(#"{"lastN": "2"}"#) == [3, 4])
        #expect(try await ids(#"{"selector": {"planId": "web"}, "lastN": "2"}"#) == [2, 4])
        #expect(try await ids(#"{"selector": {"originalInstanceKeyid": "other"}}"#) == [2])
        #expect(try await ids(#"{"selector": {"ids": ["3", "99", "1", "3"]}}"#) == [1, 3])
        #expect(try await ids(#"{"selector": {"modnoGte": "30", "flowId": "7", "instanceId": "member"}}"#) == [3, 4])
        let whole = try WireOperationList(serializedBytes: try await world.call(.operations, []).body)
        let third = try #require(whole.operations.first { $0.id == 3 })
        #expect(third.originalID == 103 && third.flowID == 7 && third.originalFlowID == 9)
        #expect(third.originalInstanceKeyid == FakeAdministration.memberKey)

        var request = WireLogDataRequest()
        request.ref = third.logref
        let messages = try EndpointWorld.messages(try await stream(world, .log, request).response)
        var log = ""
        var end: StreamEnd?
        while let message = try await messages.next() {
            switch message {
            case .message(let bytes):
                log += String(decoding: try WireBytesValue(serializedBytes: bytes).value, as: UTF8.self)
            case .end(let bytes): end = try StreamEnd(parsing: bytes)
            }
        }
        #expect(log == "first\nsecond\n" && end?.code == .unavailable)
        for ref in ["", "operation:x", "operation:4", "/etc/passwd"] {
            request.ref = ref
            #expect(try await EndpointWorld.end(try await stream(world, .log, request).response).code == .notFound)
        }
    }

    private func stream(
        _ world: EndpointWorld, _ call: PeerCall, _ message: any Message, as user: String? = EndpointWorld.reader,
        headers: [(name: String, value: String)] = []
    ) async throws -> (status: Int, body: [UInt8], response: RESTResponse) {
        try await world.call(
            call, Envelope(payload: try message.serializedBytes()).encoded, type: "application/connect+proto", as: user,
            headers: headers)
    }

    @Test("tell how it stands with peers, once or as long as somebody listens")
    func states() async throws {
        let world = try await EndpointWorld()
        var request = WireSyncStateStreamRequest()
        let once = try EndpointWorld.messages(try await stream(world, .states, request).response)
        for name in ["the-hub", "member"] {
            guard case .message(let bytes)? = try await once.next() else { throw CancellationError() }
            #expect(try WirePeerState(serializedBytes: bytes).peerInstanceID == name)
        }
        #expect(try await once.next() == .end(StreamEnd.clean.encoded))

        request.subscribe = true
        let response = try await stream(world, .states, request).response
        #expect(response.isFeed)
        let follower = try EndpointWorld.messages(response)
        for _ in 0..<2 { _ = try await follower.next() }
        for name in ["member", "the-hub"] {
            world.administration.changes.withLock { _ = $0[0].yield(FakeAdministration.state(name)) }
            guard case .message(let bytes)? = try await follower.next() else { throw CancellationError() }
            #expect(try WirePeerState(serializedBytes: bytes).peerInstanceID == name)
        }
        // Who loses the right hears no more.
        let reader = try #require(AuthID(parsing: "reader@pbs"))
        try world.access.removeUser(reader, digest: nil, by: world.access.inProcessRoot())
        world.administration.changes.withLock { _ = $0[0].yield(FakeAdministration.state("member")) }
        guard case .end(let end)? = try await follower.next() else { throw CancellationError() }
        #expect(try StreamEnd(parsing: end).code == .permissionDenied)
    }

    @Test("stop following states when nobody listens any more")
    func unsubscribed() async throws {
        let world = try await EndpointWorld()
        var request = WireSyncStateStreamRequest()
        request.subscribe = true
        var response: RESTResponse? = try await stream(world, .states, request).response
        let isOver = AsyncStream.makeStream(of: Void.self)
        try await eventually("a follower") { world.administration.changes.withLock { $0.count } == 1 }
        world.administration.changes.withLock { $0[0].onTermination = { _ in isOver.continuation.finish() } }
        #expect(response != nil)
        response = nil
        for await _ in isOver.stream {}
    }

    @Test("of the state service are refused as streams are")
    func stateRefusals() async throws {
        let world = try await EndpointWorld()
        let request = WireSyncStateStreamRequest()
        for (user, code) in [(nil, StreamEnd.Code.unauthenticated), (EndpointWorld.guest, .permissionDenied)] {
            let response = try await stream(world, .states, request, as: user).response
            #expect(try await EndpointWorld.end(response).code == code)
        }
        let type = "application/connect+proto"
        for body in [
            [], [0, 0, 0, 0], [0, 0, 0, 0, 0, 1], Envelope(payload: []).encoded + Envelope(payload: []).encoded,
        ] {
            let response = try await world.call(.states, body, type: type).response
            #expect(try await EndpointWorld.end(response).code == .invalidArgument, "\(body)")
        }
        #expect(try await world.call(.states, [], type: "application/json").status == 415)
        let version = try await stream(world, .states, request, headers: [("connect-protocol-version", "9")])
        #expect(try await EndpointWorld.end(version.response).code == .invalidArgument)
    }

    @Test("send settings to members that are connected")
    func push() async throws {
        let world = try await EndpointWorld()
        var request = WireSetRemoteClientConfigRequest()
        #expect(try await world.refusal(.setRemoteConfig, try request.serializedBytes()) == "400 invalid_argument")
        for key in ["ed25519.asleep", "ed25519.unknown"] {
            request.peerKeyid = key
            #expect(try await world.refusal(.setRemoteConfig, try request.serializedBytes()) == "404 not_found")
        }
        request.peerKeyid = FakeAdministration.memberKey
        request.plans = [WirePlan.with { $0.id = "web" }]
        request.reposToDelete = ["old"]
        let answer = try await world.call(.setRemoteConfig, try request.serializedBytes())
        #expect(answer.status == 200 && answer.body.isEmpty)
        let pushed = world.administration.pushed.withLock { $0 }
        #expect(pushed.count == 1 && pushed[0].push.plans.map(\.id) == ["web"])
        #expect(pushed[0].push.reposToDelete == ["old"])
        let records = try world.access.audit.records(AuditFilter()).records
        #expect(records.first?.details["subjects"] == ["plan:web"])
    }

    @Test("are refused late, not to be guessed at")
    func delays() async throws {
        let delays = CallDelays(unauthenticated: .milliseconds(80), unauthorized: .milliseconds(40))
        let world = try await EndpointWorld(delays: delays)
        let clock = ContinuousClock()
        let stranger = try await clock.measure { _ = try await world.refusal(.config, [], as: nil) }
        #expect(stranger >= .milliseconds(80))
        let guest = try await clock.measure { _ = try await world.refusal(.config, [], as: EndpointWorld.guest) }
        #expect(guest >= .milliseconds(40))
    }
}

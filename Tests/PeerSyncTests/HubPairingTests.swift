import BackupFormats
import CairnTestSupport
import FoundationEssentials
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

@Suite("A hub, when somebody opens a session,", .timeLimit(.minutes(10)))
struct HubPairingTests {
    @Test("takes a new member by its pairing secret once, and knows it from then on")
    func pairs() async throws {
        let hub = try TestHub()
        let grant = try PeerGrant(.readConfig, scopes: ["*"])
        let token = try await hub.token([grant])
        let identity = try PeerIdentity()
        let first = TestMember(identity, named: "web", of: hub)
        try await first.open(secret: token.secret)
        let peer = try #require(hub.directory.peer(keyID: identity.keyID))
        #expect(peer.instanceID == "web" && peer.role == .member && peer.grants == [grant])
        #expect(try await hub.administration.tokens().map(\.uses) == [1])
        #expect(hub.states.state(of: identity.keyID)?.state == .connected)
        first.stream.finish()
        #expect(await first.end.value == .clean)

        // Without the secret, and with one that is spent: the key is known.
        for secret in ["", token.secret] {
            let again = TestMember(identity, named: "web", of: hub)
            try await again.open(secret: secret)
            again.stream.finish()
            #expect(await again.end.value == .clean)
        }
        #expect(try await hub.administration.tokens().map(\.uses) == [1])
    }

    /// What is told to all who are refused.
    static let refusal = StreamEnd(PeerSyncFailure(.authentication, ""))

    @Test("refuses a wrong, changed, spent or expired secret, and none, with one text; nothing is changed by it")
    func secrets() async throws {
        let hub = try TestHub()
        let token = try await hub.token()
        let spent = try await hub.token()
        let brief = try await hub.token(lifetime: 10)
        _ = try await {
            let member = TestMember(try PeerIdentity(), named: "other", of: hub)
            try await member.open(secret: spent.secret)
            return member
        }()
        hub.clock.advance(seconds: 11)
        let uses = try await hub.administration.tokens().map(\.uses)
        var ends: [StreamEnd] = []
        for secret in [
            "", "wrong", token.secret.uppercased(), String(token.secret.dropLast()), token.secret + "0", spent.secret,
            brief.secret,
        ] {
            let member = TestMember(try PeerIdentity(), named: "web", of: hub)
            try? await member.introduce(secret: secret)
            ends.append(await member.end.value)
        }
        #expect(ends == [StreamEnd](repeating: Self.refusal, count: ends.count))
        #expect(hub.directory.peers.map(\.instanceID) == ["other"])
        #expect(try await hub.administration.tokens().map(\.uses) == uses)
    }

    @Test("refuses a known key with another name, and a known name with another key")
    func names() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        let member = try await hub.pair(identity, named: "web")
        let token = try await hub.token()
        let renamed = TestMember(identity, named: "db", of: hub)
        try? await renamed.introduce()
        #expect(await renamed.end.value == Self.refusal)
        let impostor = TestMember(try PeerIdentity(), named: "web", of: hub)
        try? await impostor.introduce(secret: token.secret)
        #expect(await impostor.end.value == Self.refusal)
        #expect(hub.states.state(of: identity.keyID)?.state == .connected)
        // Not even a token is used up by it, and the member's own session goes on.
        #expect(try await hub.administration.tokens().map(\.uses) == [1, 0])
        try await member.settle()
        // When it is not connected, its state tells what is wrong.
        member.stream.finish()
        _ = await member.end.value
        try await eventually("it is gone") { hub.states.state(of: identity.keyID)?.state == .disconnected }
        let later = TestMember(identity, named: "db", of: hub)
        try? await later.introduce()
        _ = await later.end.value
        #expect(hub.states.state(of: identity.keyID)?.state == .errorAuth)
    }

    @Test("holds a refusal back")
    func delay() async throws {
        var settings = TestHub.settings
        settings.refusalDelay = .milliseconds(200)
        let hub = try TestHub(settings: settings)
        let member = TestMember(try PeerIdentity(), named: "web", of: hub)
        let start = ContinuousClock.now
        try? await member.introduce(secret: "wrong")
        #expect(await member.end.value == Self.refusal)
        #expect(ContinuousClock.now - start >= .milliseconds(200))
    }

    @Test("lets only one of two pair that show the same secret at once")
    func race() async throws {
        let hub = try TestHub()
        let token = try await hub.token()
        let members = try (0..<6).map { TestMember(try PeerIdentity(), named: "m\($0)", of: hub) }
        let accepted = await withTaskGroup(of: Bool.self) { group in
            for member in members {
                group.addTask { (try? await member.open(secret: token.secret)) != nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(accepted == 1 && hub.directory.peers.count == 1)
        #expect(try await hub.administration.tokens().map(\.uses) == [1])
    }

    @Test("refuses what is no key exchange and no handshake, and waits for neither for ever")
    func beginnings() async throws {
        var settings = TestHub.settings
        settings.patience = .milliseconds(200)
        let hub = try TestHub(settings: settings)
        let (_, silent) = hub.connect()
        #expect(await silent.value.code == .invalidArgument)

        let (mute, end) = hub.connect()
        let opening = PeerSession(
            member: try PeerIdentity(), instanceID: "web", of: (hub.directory.identity.keyID, "hub"),
            privateKey: try HybridPrivateKey()
        ).opening()
        try await mute.send(opening.serializedBytes())
        #expect(await end.value == Self.refusal)

        for version: UInt32 in [0, 2, .max] {
            let (stream, end) = hub.connect()
            var item = opening
            item.establishSharedSecret.protocolVersion = version
            try await stream.send(item.serializedBytes())
            #expect(await end.value.code == .invalidArgument)
        }
        var garbage = WireSyncStreamItem()
        garbage.heartbeat = .init()
        for bytes in [[], [0xff, 0xff], try garbage.serializedBytes() as [UInt8]] {
            let (stream, end) = hub.connect()
            try await stream.send(bytes)
            #expect(await end.value.code == .invalidArgument)
        }
        #expect(hub.directory.peers.isEmpty)
    }

    @Test("refuses a handshake that is altered, or of another session or key, and no secret is used up by it")
    func handshakes() async throws {
        let hub = try TestHub()
        let token = try await hub.token()
        let other = try PeerIdentity()
        let earlier = RawMember(try PeerIdentity(), named: "web", of: hub)
        try await earlier.exchange()
        let elsewhere = try Handshake.item(
            of: earlier.identity, instanceID: "web", pairingSecret: token.secret, transcript: earlier.transcript)
        earlier.stream.finish()
        let faults: [(String, (inout WireSyncStreamItem) -> Void)] = [
            ("version 2", { $0.handshake.protocolVersion = 2 }), ("version 4", { $0.handshake.protocolVersion = 4 }),
            ("version -1", { $0.handshake.protocolVersion = -1 }), ("name", { $0.handshake.instanceID = "db" }),
            ("no name", { $0.handshake.instanceID = "" }), ("secret", { $0.handshake.pairingSecret += "0" }),
            ("signature", { $0.handshake.signature[3] ^= 1 }), ("no signature", { $0.handshake.signature = .init() }),
            ("key id", { $0.handshake.publicKey.keyid = other.keyID }),
            ("key", { $0.handshake.publicKey = other.publicKey.message }),
            ("no key", { $0.handshake.clearPublicKey() }), ("another session's", { $0 = elsewhere }),
        ]
        for (what, fault) in faults {
            let member = RawMember(try PeerIdentity(), named: "web", of: hub)
            try await member.open(secret: token.secret, fault)
            #expect(await member.end.value == Self.refusal, "\(what)")
        }
        // A broken seal instead of a handshake looks the same, and so does the hub's own key.
        let sealed = RawMember(try PeerIdentity(), named: "web", of: hub)
        try await sealed.exchange()
        var item = WireSyncStreamItem()
        item.encrypted.nonce = .init(repeating: 0, count: 12)
        item.encrypted.ciphertext = .init(repeating: 7, count: 64)
        try await sealed.stream.send(item.serializedBytes())
        #expect(await sealed.end.value == Self.refusal)
        let mirror = RawMember(hub.directory.identity, named: "web", of: hub)
        try await mirror.open(secret: token.secret)
        #expect(await mirror.end.value == Self.refusal)
        #expect(hub.directory.peers.isEmpty)
        #expect(try await hub.administration.tokens().map(\.uses) == [0])
    }

    @Test("keeps members, tokens and what it knows over a restart")
    func restart() async throws {
        let identity = try PeerIdentity()
        let first = try TestHub()
        let member = try await first.pair(identity, named: "web")
        var repo = WireRepoMetadata()
        repo.id = "main"
        var plan = WirePlanMetadata()
        plan.id = "daily"
        var view = WireRemoteConfig()
        view.repos = [
            WireRepo.with {
                $0.id = "main"; $0.password = "secret"
            }
        ]
        try await member.send(.resources(repos: [repo], plans: [plan]))
        try await member.send(.config(view))
        try await member.settle()
        let token = try await first.token()
        member.stream.finish()
        _ = await member.end.value
        try await eventually("the state is stored") {
            try await first.database.read { !(try $0.peerViews().isEmpty) }
        }

        let second = try TestHub(in: first.folder, clock: first.clock)
        #expect(second.directory.identity.keyID == first.directory.identity.keyID)
        let state = try #require(second.states.state(of: identity.keyID))
        #expect(state.state == .disconnected && state.knownPlans == [plan] && state.knownRepos == [repo])
        #expect(state.lastHeartbeatMillis == first.clock.seconds * 1000)
        #expect(state.remoteConfig.repos.map(\.password) == [""], "secrets of others are not stored")
        let again = TestMember(identity, named: "web", of: second)
        try await again.open()
        let other = TestMember(try PeerIdentity(), named: "db", of: second)
        try await other.open(secret: token.secret)
        #expect(second.directory.peers.count == 2)
    }

    @Test("forgets tokens a day after they have ended")
    func cleaning() async throws {
        let hub = try TestHub()
        _ = try await hub.token(lifetime: 60)
        let lasting = try await hub.administration.createToken(
            PairingTokenRequest(label: "lasting", grants: [], lifetime: nil, maxUses: nil)
        ).description
        hub.clock.advance(seconds: 86_400 + 61)
        let running = Task { await hub.service.run() }
        defer { running.cancel() }
        try await eventually("the token is gone") { try await hub.administration.tokens() == [lasting] }
        try await hub.administration.removeToken(lasting.id)
        #expect(try await hub.administration.tokens().isEmpty)
        await #expect(throws: BackupFailure.self) { try await hub.administration.removeToken(lasting.id) }
    }
}

import BackupFormats
import Crypto
import Foundation
import PeerSyncProtocol
import SwiftProtobuf
import Testing

/// Two sessions, one of each role, and what went between them.
struct SessionPair {
    let memberIdentity: PeerIdentity
    let hubIdentity: PeerIdentity
    var member: PeerSession
    var hub: PeerSession

    init(pairingSecret: String = "", capabilities: PeerCapabilities = [], hubName: String = "hub") throws {
        memberIdentity = try PeerIdentity()
        hubIdentity = try PeerIdentity()
        hub = PeerSession(hub: hubIdentity, instanceID: "hub", capabilities: capabilities)
        member = PeerSession(
            member: memberIdentity, instanceID: "member", of: (hubIdentity.keyID, hubName),
            pairingSecret: pairingSecret, capabilities: capabilities, privateKey: try HybridPrivateKey())
    }

    /// Exchanges keys; returns the hub's answer, not yet given to the member.
    mutating func begin() throws -> [PeerSession.Effect] {
        try hub.receive(member.opening().serializedData())
    }

    mutating func establish() throws {
        var handshakes: [PeerSession.Effect] = []
        for case .send(let item) in try begin() { handshakes += try member.receive(item.serializedData()) }
        for case .send(let item) in handshakes { _ = try hub.receive(item.serializedData()) }
        hub.accept()
        #expect(hub.phase == .established && member.phase == .established)
    }

    mutating func send(_ item: PeerItem, from role: PeerRole) throws -> [PeerSession.Effect] {
        role == .member
            ? try hub.receive(member.seal(item).serializedData())
            : try member.receive(hub.seal(item).serializedData())
    }
}

@Suite("A session of peers")
struct SessionTests {
    @Test("carries each item to the other side")
    func carries() throws {
        var pair = try SessionPair()
        try pair.establish()
        var event = WireOperationEvent()
        event.keepAlive = .init()
        let fromMember: [PeerItem] = [
            .heartbeat(capabilities: []), .config(.init()), .resources(repos: [], plans: []),
            .manifest(ids: [1, 2], counters: [3, 4]), .operations(event),
        ]
        for item in fromMember {
            #expect(try pair.send(item, from: .member) == [.received(item)])
        }
        let fromHub: [PeerItem] = [
            .heartbeat(capabilities: []), .config(.init()), .resources(repos: [], plans: []), .manifestRequest,
            .operationRequest(ids: [7]), .configPush(.init()), .resourcesRequest,
        ]
        for item in fromHub {
            #expect(try pair.send(item, from: .hub) == [.received(item)])
        }
    }

    /// Every action there is, by name.
    static let actions: [(name: String, item: WireSyncStreamItem)] = {
        var items: [(String, WireSyncStreamItem)] = [("no action", WireSyncStreamItem())]
        func add(_ name: String, _ change: (inout WireSyncStreamItem) -> Void) {
            var item = WireSyncStreamItem()
            change(&item)
            items.append((name, item))
        }
        add("signed message") { $0.signedMessage = .init() }
        add("handshake") { $0.handshake = .init() }
        add("heartbeat") { $0.heartbeat = .init() }
        add("manifest") { $0.operationManifest = .init() }
        add("unequal manifest") { $0.operationManifest.opIds = [1] }
        add("operations") { $0.receiveOperations.event.keepAlive = .init() }
        add("operations without event") { $0.receiveOperations = .init() }
        add("operations without kind") { $0.receiveOperations.event = .init() }
        add("operation request") { $0.requestOperationData = .init() }
        add("config") { $0.receiveConfig.config = .init() }
        add("config view without config") { $0.receiveConfig = .init() }
        add("config push") { $0.setConfig = .init() }
        add("resources request") { $0.requestResources = .init() }
        add("resources") { $0.receiveResources = .init() }
        add("log request") { $0.requestLog = .init() }
        add("log data") { $0.receiveLogData = .init() }
        add("throttle") { $0.throttle = .init() }
        add("key exchange") { $0.establishSharedSecret = .init() }
        add("encrypted") { $0.encrypted = .init() }
        return items
    }()

    static let taken: [PeerRole: Set<String>] = [
        .hub: ["heartbeat", "manifest", "operations", "config", "resources"],
        .member: [
            "heartbeat", "manifest", "unequal manifest", "operation request", "config", "config push",
            "resources request", "resources",
        ],
    ]

    @Test("has a defined result for each item in each role once established", arguments: PeerRole.allCases)
    func table(_ role: PeerRole) throws {
        for (name, item) in Self.actions {
            var pair = try SessionPair()
            let keys = try pair.establishWithKeys()
            var sending = SealedDirection(key: role == .hub ? keys.toResponder : keys.toInitiator, counter: 1)
            let outer = try sending.seal(item.serializedBytes()).serializedData()
            let isTaken = Self.taken[role]?.contains(name) == true
            let effects = role == .hub ? try? pair.hub.receive(outer) : try? pair.member.receive(outer)
            #expect((effects != nil) == isTaken, "\(name) to the \(role)")
            let phase = role == .hub ? pair.hub.phase : pair.member.phase
            #expect(phase == (isTaken ? .established : .ended), "\(name) to the \(role)")
        }
    }

    @Test("takes only what a state wants, plain or sealed; anything else ends it", arguments: PeerRole.allCases)
    func otherStates(_ role: PeerRole) throws {
        for (name, item) in Self.actions {
            let bytes = try item.serializedData()
            var fresh = try SessionPair()
            var session = role == .hub ? fresh.hub : fresh.member
            #expect(throws: PeerSyncFailure.self, "\(name)") { _ = try session.receive(bytes) }
            #expect(session.phase == .ended)

            _ = try fresh.begin()
            session = fresh.hub
            #expect(throws: PeerSyncFailure.self, "\(name)") { _ = try session.receive(bytes) }
            #expect(session.phase == .ended)
            #expect(throws: PeerSyncFailure.self, "\(name) after the end") { _ = try session.receive(bytes) }
            #expect(throws: PeerSyncFailure.self) { _ = try session.seal(.manifestRequest) }
        }
    }

    @Test("keeps the pairing secret until the hub has proved its key")
    func secretWaits() throws {
        var pair = try SessionPair(pairingSecret: "s3cret")
        let answer = try pair.begin()
        guard case .send(let encapsulation) = answer.first, case .send(let proof) = answer.last else {
            Issue.record("the hub does not answer")
            return
        }
        #expect(try pair.member.receive(encapsulation.serializedData()).isEmpty)
        let effects = try pair.member.receive(proof.serializedData())
        guard case .send(let handshake) = effects.first, case .verified = effects.last else {
            Issue.record("the member does not go on")
            return
        }
        guard case .authorize(let shown)? = try pair.hub.receive(handshake.serializedData()).first else {
            Issue.record("the hub is not asked")
            return
        }
        #expect(shown.pairingSecret == "s3cret" && shown.instanceID == "member")
        #expect(shown.publicKey.keyID == pair.memberIdentity.keyID)
    }

    @Test("sends nothing to a hub of another key or name")
    func otherHub() throws {
        for (secret, name) in [("s3cret", "another"), ("", "another")] {
            var pair = try SessionPair(pairingSecret: secret, hubName: name)
            var sent: [PeerSession.Effect] = []
            #expect(throws: PeerSyncFailure.self) {
                for case .send(let item) in try pair.begin() { sent += try pair.member.receive(item.serializedData()) }
            }
            #expect(sent.count == (secret.isEmpty ? 1 : 0))
            #expect(pair.member.phase == .ended)
        }
    }

    @Test("is refused by both ends when somebody sits between them with two key exchanges")
    func relay() throws {
        var real = try SessionPair()
        // The one between: towards the member a hub, towards the hub a member, with keys of its own.
        var towardsMember = PeerSession(hub: try PeerIdentity(), instanceID: "hub")
        let towardsHub = PeerSession(
            member: try PeerIdentity(), instanceID: "member", of: (real.hubIdentity.keyID, "hub"),
            privateKey: try HybridPrivateKey())
        let toMember = try towardsMember.receive(real.member.opening().serializedData())
        let toHub = try real.hub.receive(towardsHub.opening().serializedData())
        guard case .send(let encapsulation) = toMember.first, case .send(let handshake) = toHub.last,
            case .send(let forged) = toMember.last
        else { return }
        let sent = try real.member.receive(encapsulation.serializedData())
        // Neither the hub's own handshake, sealed for the other leg, nor the forged one is believed.
        var copy = real.member
        #expect(throws: PeerSyncFailure.self) { _ = try copy.receive(handshake.serializedData()) }
        #expect(throws: PeerSyncFailure.self) { _ = try real.member.receive(forged.serializedData()) }
        guard case .send(let proof) = sent.first else { return }
        #expect(throws: PeerSyncFailure.self) { _ = try real.hub.receive(proof.serializedData()) }
    }

    @Test("refuses other versions of the transport", arguments: [0, 2, UInt32.max])
    func versions(_ version: UInt32) throws {
        var pair = try SessionPair()
        var opening = pair.member.opening()
        opening.establishSharedSecret.protocolVersion = version
        let bytes = try opening.serializedData()
        #expect(throws: PeerSyncFailure.self) { _ = try pair.hub.receive(bytes) }
    }

    @Test("carries logs only between two that both can")
    func logs() throws {
        var pair = try SessionPair(capabilities: .logs)
        try pair.establish()
        #expect(throws: PeerSyncFailure.self) { _ = try pair.hub.seal(.logRequest(id: "x")) }
        _ = try pair.hub.receive(pair.member.heartbeat().serializedData())
        _ = try pair.member.receive(pair.hub.heartbeat().serializedData())
        #expect(try pair.send(.logRequest(id: "x"), from: .hub) == [.received(.logRequest(id: "x"))])
        var data = WireSyncStreamItem.SyncActionReceiveLogData()
        data.logID = "x"
        #expect(try pair.send(.logData(data), from: .member) == [.received(.logData(data))])
    }
}

extension SessionPair {
    /// Establishes both sides and gives the keys, for items that no session of ours would send.
    mutating func establishWithKeys() throws -> SessionKeys {
        let key = try HybridPrivateKey()
        let (encapsulation, secret) = try HybridKEM.encapsulate(to: key.publicKey)
        hub = PeerSession(hub: hubIdentity, instanceID: "hub") { _ throws(PeerSyncFailure) in (encapsulation, secret) }
        member = PeerSession(
            member: memberIdentity, instanceID: "member", of: (hubIdentity.keyID, "hub"), privateKey: key)
        try establish()
        return SessionKeys(secret: secret, publicKey: key.publicKey, encapsulation: encapsulation)
    }
}

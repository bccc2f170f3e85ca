import CairnTestSupport
import Crypto
import Foundation
@testable import PeerSyncProtocol
import SwiftProtobuf

/// Items of all sorts for sessions of both roles in every state, sealed with the right keys, with wrong ones, or not.
///
/// The sessions are copies of a few that went through a real exchange of keys: nothing else costs so much.
struct SessionFuzzer: Fuzzer {
    /// A session in some state, with what its peer has to go on.
    private struct Start {
        let session: PeerSession
        /// What the peer seals with, and what it opens with.
        let sealing: SealedDirection
        let opening: SealedDirection
        /// The outer items that this state waits for, ready to be given.
        let valid: [[UInt8]]
        /// Plain inside of ``valid``, where it is sealed.
        let validPlain: [[UInt8]]
    }

    private let starts: [PeerSession.Phase: [Start]]
    private let items: [[UInt8]]
    private var random: SeededRandom

    /// What a step gives, and whether it can be taken.
    private struct Input {
        let bytes: [UInt8]
        let verdict: Verdict
        enum Verdict { case taken, refused, unknown }
    }

    init(random: SeededRandom) throws {
        self.random = random
        items = try FuzzCorpus.items()
        var starts: [PeerSession.Phase: [Start]] = [:]
        for capabilities in [PeerCapabilities.logs, []] {
            for secret in ["", "s3cret"] {
                for start in try Self.starts(capabilities, secret) {
                    starts[start.session.phase, default: []].append(start)
                }
            }
        }
        self.starts = starts
    }

    // MARK: - Where it begins

    private static func starts(_ capabilities: PeerCapabilities, _ secret: String) throws -> [Start] {
        let (memberIdentity, hubIdentity) = (try PeerIdentity(), try PeerIdentity())
        let key = try HybridPrivateKey()
        let (encapsulation, shared) = try HybridKEM.encapsulate(to: key.publicKey)
        let keys = SessionKeys(secret: shared, publicKey: key.publicKey, encapsulation: encapsulation)
        var hub = PeerSession(hub: hubIdentity, instanceID: "hub", capabilities: capabilities) {
            (given) throws(PeerSyncFailure) in
            guard given.count == HybridKEM.publicKeyBytes else { throw PeerSyncFailure(.authentication, "no key") }
            return (encapsulation, shared)
        }
        var member = PeerSession(
            member: memberIdentity, instanceID: "member", of: (hubIdentity.keyID, "hub"), pairingSecret: secret,
            capabilities: capabilities, privateKey: key)
        var found: [Start] = []
        // Directions as the peer of each has them.
        var (toHub, fromHub) = (SealedDirection(key: keys.toResponder), SealedDirection(key: keys.toInitiator))
        var (toMember, fromMember) = (SealedDirection(key: keys.toInitiator), SealedDirection(key: keys.toResponder))
        func add(
            _ session: PeerSession, _ sealing: SealedDirection, _ opening: SealedDirection, _ valid: [[UInt8]] = [],
            _ plain: [[UInt8]] = []
        ) {
            found.append(
                Start(session: session, sealing: sealing, opening: opening, valid: valid, validPlain: plain))
        }

        let opening = try member.opening().serializedBytes() as [UInt8]
        add(hub, toHub, fromHub, [opening])
        let answers = try hub.receive(opening).map { try Self.sent($0) }
        _ = try fromHub.open(try WireSyncStreamItem(serializedBytes: answers[1]).encrypted)
        let memberProof =
            try Handshake.item(
                of: memberIdentity, instanceID: "member", pairingSecret: secret, transcript: keys.transcript
            ).serializedBytes() as [UInt8]
        var sealedProof = toHub
        let proof = try sealedProof.seal(memberProof).serializedBytes() as [UInt8]
        add(hub, toHub, fromHub, [proof], [memberProof])

        add(member, toMember, fromMember, [answers[0]])
        _ = try member.receive(answers[0])
        if secret.isEmpty { fromMember = SealedDirection(key: keys.toResponder, counter: 1) }
        var opened = toMember
        let hubProof = try opened.open(try WireSyncStreamItem(serializedBytes: answers[1]).encrypted)
        add(member, toMember, fromMember, [answers[1]], [hubProof])
        _ = try member.receive(answers[1])
        fromMember = SealedDirection(key: keys.toResponder, counter: 1)
        toMember = SealedDirection(key: keys.toInitiator, counter: 1)
        add(member, toMember, fromMember)

        _ = try hub.receive(proof)
        toHub = sealedProof
        add(hub, toHub, fromHub)
        hub.accept()
        add(hub, toHub, fromHub)
        if !capabilities.isEmpty {
            let beat = try PeerItem.heartbeat(capabilities: capabilities).message.serializedBytes() as [UInt8]
            _ = try hub.receive(try toHub.seal(beat).serializedBytes() as [UInt8])
            _ = try member.receive(try toMember.seal(beat).serializedBytes() as [UInt8])
            add(hub, toHub, fromHub)
            add(member, toMember, fromMember)
        }
        hub.end()
        member.end()
        add(hub, toHub, fromHub)
        add(member, toMember, fromMember)
        return found
    }

    private static func sent(_ effect: PeerSession.Effect) throws -> [UInt8] {
        guard case .send(let item) = effect else { throw FuzzFinding(what: "\(effect) instead of an item", input: []) }
        return try item.serializedBytes()
    }

    // MARK: - What it is given

    mutating func step() throws -> Int {
        let place = Int.random(in: 0..<20, using: &random)
        let phase: PeerSession.Phase =
            place < 11
            ? .established : place < 15 ? .handshake : place < 18 ? .keyExchange : place < 19 ? .verdict : .ended
        guard let start = starts[phase]?.randomElement(using: &random) else {
            throw FuzzFinding(what: "no session gets to \(phase)", input: [])
        }
        var session = start.session
        var sealing = start.sealing
        var opening = start.opening
        for given in 1...4 {
            let before = session.phase
            let input = try input(for: session, start, &sealing)
            try give(input, to: &session)
            guard session.phase == .established else { return given }
            if before == .established { try sendSomething(from: &session, &opening) } else { return given }
        }
        return 4
    }

    private mutating func input(
        for session: PeerSession, _ start: Start, _ sealing: inout SealedDirection
    ) throws -> Input {
        let other = items.randomElement(using: &random) ?? []
        switch session.phase {
        case .keyExchange:
            // A whole one costs an agreement of keys, and one that nearly is as well.
            guard random.chance(1, in: 400), let valid = start.valid.first else {
                return Input(bytes: Mutation.of(other, with: other, &random), verdict: .unknown)
            }
            return random.chance(1, in: 4)
                ? Input(bytes: valid, verdict: .taken)
                : Input(bytes: Mutation.of(valid, with: other, &random), verdict: .unknown)
        case .handshake:
            let (valid, plain) = (start.valid[0], start.validPlain[0])
            switch Int.random(in: 0..<400, using: &random) {
            case 0: return Input(bytes: valid, verdict: .taken)
            case 1..<40:
                let changed = Mutation.of(plain, with: other, &random)
                return Input(
                    bytes: try sealing.seal(changed).serializedBytes(),
                    verdict: Self.isSameHandshake(changed, plain) ? .taken : .refused)
            case 40..<200: return try wrong(valid, sealing)
            case 200..<300:
                return Input(bytes: try sealing.seal(other).serializedBytes(), verdict: .refused)
            default: return Input(bytes: other, verdict: .refused)
            }
        case .verdict, .ended:
            return Input(bytes: try sealing.seal(other).serializedBytes(), verdict: .refused)
        case .established:
            let plain = random.chance(1, in: 2) ? other : Mutation.of(other, with: other, &random)
            guard random.chance(7, in: 8) else {
                return try wrong(try sealing.seal(plain).serializedBytes(), sealing)
            }
            return Input(
                bytes: try sealing.seal(plain).serializedBytes(),
                verdict: Self.isTaken(plain, by: session) ? .taken : .refused)
        }
    }

    /// An item that was sealed, and is not what the session waits for: changed, of another place, or reflected.
    private mutating func wrong(_ valid: [UInt8], _ sealing: SealedDirection) throws -> Input {
        let outer = try WireSyncStreamItem(serializedBytes: valid)
        var changed = outer
        switch Int.random(in: 0..<6, using: &random) {
        case 0: changed.encrypted.ciphertext[changed.encrypted.ciphertext.startIndex] ^= 1
        case 1: changed.encrypted.ciphertext.removeLast(Int.random(in: 1...16, using: &random))
        case 2: changed.encrypted.nonce.removeLast()
        case 3: changed.encrypted.nonce[changed.encrypted.nonce.startIndex] = 1
        case 4:
            var later = SealedDirection(key: SymmetricKey(size: .bits256))
            changed = try later.seal(random.bytes(40))
        default:
            let bytes = Mutation.of(valid, with: items.randomElement(using: &random) ?? [], &random)
            // Some changes leave it what it was.
            let same = (try? WireSyncStreamItem(serializedBytes: bytes))?.encrypted == outer.encrypted
            return Input(bytes: bytes, verdict: same ? .unknown : .refused)
        }
        return Input(bytes: try changed.serializedBytes(), verdict: .refused)
    }

    // MARK: - What must come of it

    private func give(_ input: Input, to session: inout PeerSession) throws(FuzzFinding) {
        let before = session.phase
        func wrong(_ what: String) -> FuzzFinding {
            FuzzFinding(what: "\(what), by a \(session.role) in the state \(before)", input: input.bytes)
        }
        var effects: [PeerSession.Effect]?
        do { effects = try session.receive(input.bytes) } catch {
            guard session.phase == .ended else { throw wrong("refused without an end") }
        }
        if input.verdict == .taken, effects == nil { throw wrong("refused") }
        if input.verdict == .refused, effects != nil { throw wrong("taken") }
        guard let effects else {
            guard (try? session.receive(input.bytes)) == nil, (try? session.heartbeat()) == nil else {
                throw wrong("goes on after its end")
            }
            return
        }
        let isRight =
            switch (before, session.role, session.phase, effects.last) {
            case (.keyExchange, .hub, .handshake, .send): effects.count == 2
            case (.keyExchange, .member, .handshake, .send), (.keyExchange, .member, .handshake, nil): true
            case (.handshake, .hub, .verdict, .authorize): effects.count == 1
            case (.handshake, .member, .established, .verified): true
            case (.established, _, .established, .received): effects.count == 1
            default: false
            }
        guard isRight else { throw wrong("leads to \(session.phase) with \(effects.count) effects") }
    }

    /// Sends one of the session's own items; the peer must read what was sent.
    private mutating func sendSomething(
        from session: inout PeerSession, _ opening: inout SealedDirection
    ) throws {
        session.accept()
        guard let bytes = items.randomElement(using: &random),
            let message = try? WireSyncStreamItem(serializedBytes: bytes),
            let item = try? PeerItem(message, from: session.role, capabilities: .logs)
        else { return }
        do {
            let outer = try session.seal(item)
            let plain = try opening.open(outer.encrypted)
            guard plain == (try item.message.serializedBytes() as [UInt8]) else {
                throw FuzzFinding(what: "sends something else than it was given", input: bytes)
            }
        } catch let failure as PeerSyncFailure {
            // Only logs depend on what the other side can do.
            switch item {
            case .logRequest, .logData: return
            default: throw FuzzFinding(what: "does not send: \(failure)", input: bytes)
            }
        }
    }

    private static func isSameHandshake(_ changed: [UInt8], _ plain: [UInt8]) -> Bool {
        guard let one = try? WireSyncStreamItem(serializedBytes: changed),
            let other = try? WireSyncStreamItem(serializedBytes: plain), case .handshake(let a)? = one.action,
            case .handshake(let b)? = other.action
        else { return false }
        return a.protocolVersion == b.protocolVersion && a.publicKey.keyid == b.publicKey.keyid
            && a.publicKey.ed25519Pub == b.publicKey.ed25519Pub && a.instanceID == b.instanceID
            && a.pairingSecret == b.pairingSecret && a.signature == b.signature
    }

    /// The table of items that an established session takes, written a second time.
    private static func isTaken(_ plain: [UInt8], by session: PeerSession) -> Bool {
        guard let item = try? WireSyncStreamItem(serializedBytes: plain) else { return false }
        switch (item.action, session.role) {
        case (.heartbeat, _), (.receiveResources, _): return true
        case (.receiveConfig(let view), _): return view.hasConfig
        case (.operationManifest(let manifest), .hub): return manifest.opIds.count == manifest.modnos.count
        case (.receiveOperations(let message), .hub): return message.hasEvent && message.event.event != nil
        case (.operationManifest, .member), (.requestOperationData, .member), (.setConfig, .member),
            (.requestResources, .member):
            return true
        case (.requestLog, _), (.receiveLogData, _): return session.sharesLogs
        default: return false
        }
    }
}

extension PeerSession {
    /// Whether both sides have said that they can.
    fileprivate var sharesLogs: Bool {
        var copy = self
        return (try? copy.seal(.logRequest(id: "x"))) != nil
    }
}

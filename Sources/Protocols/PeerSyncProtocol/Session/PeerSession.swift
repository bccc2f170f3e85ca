package import Crypto
import FoundationEssentials
package import SwiftProtobuf

/// One session of peer sync, in either role, as a value: outer items go in, outer items and events come out. It knows no
/// network, no clock and no database. (Spec: backrest-sync §4, §5.1, §5.2.)
///
/// ```
/// member: keyExchange ── encapsulation ──▶ handshake ── hub proved its key ──▶ established
/// hub:    keyExchange ── public key ─────▶ handshake ── member proved its key ─▶ verdict ── accept ──▶ established
/// ```
/// Any failure leads to `ended`: nothing is sent or taken afterwards, and the keys are gone. A member that has a pairing
/// secret sends its handshake only after the hub has proved the configured key.
package struct PeerSession: Sendable {
    /// Seconds that the key exchange, and then the handshake, may take.
    package static let patience = 15

    package enum Phase: Sendable, Hashable, CaseIterable {
        case keyExchange, handshake, verdict, established, ended
    }

    /// What an input leads to, in this order.
    package enum Effect: Sendable, Equatable {
        case send(WireSyncStreamItem)
        /// Hub: somebody has proved a key. Whether that is a known member, or one with a good pairing secret, is for the
        /// owner to say, by ``PeerSession/accept()`` or ``PeerSession/end()``, before the next item is given.
        case authorize(Handshake)
        /// Member: the hub has proved the configured key; the first items may be sent.
        case verified(Handshake)
        case received(PeerItem)
    }

    package let role: PeerRole
    package private(set) var phase = Phase.keyExchange
    /// What the other side has told of itself.
    package private(set) var peerCapabilities: PeerCapabilities = []

    private let identity: PeerIdentity
    private let instanceID: String
    private let capabilities: PeerCapabilities
    /// Member: whom it has dialled.
    private let expected: (keyID: String, instanceID: String)?
    private let pairingSecret: String
    private let exchange: HubExchange
    private var privateKey: HybridPrivateKey?
    private var sending: SealedDirection?
    private var receiving: SealedDirection?
    private var transcript: [UInt8] = []

    /// How the hub answers a public key; replaced by vectors only.
    package typealias HubExchange =
        @Sendable ([UInt8]) throws(PeerSyncFailure) -> (encapsulation: [UInt8], secret: SymmetricKey)

    /// The hub's side of a session that somebody opens.
    package init(
        hub identity: PeerIdentity, instanceID: String, capabilities: PeerCapabilities = [],
        exchange: @escaping HubExchange = HybridKEM.encapsulate(to:)
    ) {
        role = .hub
        self.identity = identity
        self.instanceID = instanceID
        self.capabilities = capabilities
        self.exchange = exchange
        expected = nil
        pairingSecret = ""
    }

    /// The member's side of a session that it opens.
    ///
    /// - Parameters:
    ///   - hub: Key id and instance id of the hub that it means.
    ///   - pairingSecret: Empty when it is known there.
    ///   - privateKey: Fresh for each session.
    package init(
        member identity: PeerIdentity, instanceID: String, of hub: (keyID: String, instanceID: String),
        pairingSecret: String = "", capabilities: PeerCapabilities = [], privateKey: HybridPrivateKey
    ) {
        role = .member
        self.identity = identity
        self.instanceID = instanceID
        self.capabilities = capabilities
        self.pairingSecret = pairingSecret
        self.privateKey = privateKey
        exchange = HybridKEM.encapsulate(to:)
        expected = hub
    }

    // MARK: - Inputs

    /// Member: the first item, which opens the session.
    package func opening() -> WireSyncStreamItem {
        var item = WireSyncStreamItem()
        item.establishSharedSecret.protocolVersion = SessionKeys.transportVersion
        item.establishSharedSecret.kemPublicKey = .init(privateKey?.publicKey ?? [])
        return item
    }

    /// Takes the bytes of an outer item.
    ///
    /// - Throws: ``PeerSyncFailure``; the session has then ended.
    package mutating func receive(_ bytes: some SwiftProtobufContiguousBytes) throws(PeerSyncFailure) -> [Effect] {
        do {
            return try handle(try Self.parse(bytes))
        } catch {
            end()
            throw error
        }
    }

    /// Hub: the one who proved a key is a member.
    package mutating func accept() {
        guard phase == .verdict else { return }
        phase = .established
    }

    /// The outer item of `item`. Items must go out in the order in which they were sealed.
    ///
    /// - Throws: ``PeerSyncFailure`` (`internalFault`) where this state or role does not send it.
    package mutating func seal(_ item: PeerItem) throws(PeerSyncFailure) -> WireSyncStreamItem {
        guard phase == .established, item.mayBeSent(by: role, common) else {
            throw PeerSyncFailure(.internalFault, "a \(role) does not send this item in the state \(phase)")
        }
        return try seal(item.message)
    }

    /// A heartbeat that tells what this side can do.
    package mutating func heartbeat() throws(PeerSyncFailure) -> WireSyncStreamItem {
        try seal(.heartbeat(capabilities: capabilities))
    }

    /// Takes nothing more and forgets the keys.
    package mutating func end() {
        phase = .ended
        privateKey = nil
        sending = nil
        receiving = nil
    }

    // MARK: - The states

    private var common: PeerCapabilities { capabilities.intersection(peerCapabilities) }

    private mutating func handle(_ outer: WireSyncStreamItem) throws(PeerSyncFailure) -> [Effect] {
        switch phase {
        case .keyExchange: return try exchangeKeys(outer)
        case .handshake:
            let handshake = try Handshake(
                verifying: try open(outer), transcript: transcript, ownKeyID: identity.keyID)
            return role == .hub ? proved(handshake) : try proved(handshake, asHub: expected)
        case .established:
            let item = try PeerItem(
                try open(outer), from: role == .hub ? .member : .hub, capabilities: common)
            if case .heartbeat(let told) = item { peerCapabilities = told }
            return [.received(item)]
        case .verdict, .ended:
            throw PeerSyncFailure(.protocolError, "an item in the state \(phase)")
        }
    }

    private mutating func exchangeKeys(_ item: WireSyncStreamItem) throws(PeerSyncFailure) -> [Effect] {
        guard case .establishSharedSecret(let message)? = item.action else {
            throw PeerSyncFailure(.protocolError, "the session does not begin with a key exchange")
        }
        guard message.protocolVersion == SessionKeys.transportVersion else {
            throw PeerSyncFailure(.protocolError, "transport version \(message.protocolVersion)")
        }
        if role == .hub {
            let publicKey = Array(message.kemPublicKey)
            let (encapsulation, secret) = try Self.asProtocolError { () throws(PeerSyncFailure) in
                try exchange(publicKey)
            }
            begin(SessionKeys(secret: secret, publicKey: publicKey, encapsulation: encapsulation))
            var answer = WireSyncStreamItem()
            answer.establishSharedSecret.protocolVersion = SessionKeys.transportVersion
            answer.establishSharedSecret.kemEncapsulation = .init(encapsulation)
            return [.send(answer), .send(try seal(try ownHandshake()))]
        }
        guard let privateKey else { throw PeerSyncFailure(.internalFault, "a session without its key") }
        let encapsulation = Array(message.kemEncapsulation)
        let secret = try Self.asProtocolError { () throws(PeerSyncFailure) in try privateKey.open(encapsulation) }
        begin(SessionKeys(secret: secret, publicKey: privateKey.publicKey, encapsulation: encapsulation))
        return pairingSecret.isEmpty ? [.send(try seal(try ownHandshake()))] : []
    }

    /// Both sides send at once; only the secret waits for the proof.
    private mutating func proved(
        _ handshake: Handshake, asHub hub: (keyID: String, instanceID: String)?
    ) throws(PeerSyncFailure) -> [Effect] {
        guard handshake.publicKey.keyID == hub?.keyID else {
            throw PeerSyncFailure(
                .authentication, "the hub shows the key \(handshake.publicKey.keyID), not the one of the pairing token")
        }
        guard handshake.instanceID == hub?.instanceID else {
            throw PeerSyncFailure(
                .authentication, "the hub calls itself '\(handshake.instanceID)', not '\(hub?.instanceID ?? "")'")
        }
        phase = .established
        guard !pairingSecret.isEmpty else { return [.verified(handshake)] }
        return [.send(try seal(try ownHandshake())), .verified(handshake)]
    }

    private mutating func proved(_ handshake: Handshake) -> [Effect] {
        phase = .verdict
        return [.authorize(handshake)]
    }

    private mutating func begin(_ keys: SessionKeys) {
        privateKey = nil
        transcript = keys.transcript
        sending = SealedDirection(key: role == .hub ? keys.toInitiator : keys.toResponder)
        receiving = SealedDirection(key: role == .hub ? keys.toResponder : keys.toInitiator)
        phase = .handshake
    }

    private func ownHandshake() throws(PeerSyncFailure) -> WireSyncStreamItem {
        try Handshake.item(
            of: identity, instanceID: instanceID, pairingSecret: pairingSecret, transcript: transcript)
    }

    // MARK: - Bytes

    private mutating func seal(_ item: WireSyncStreamItem) throws(PeerSyncFailure) -> WireSyncStreamItem {
        let plain: [UInt8]
        do { plain = try item.serializedBytes() } catch {
            throw PeerSyncFailure(.internalFault, "an item cannot be written: \(error)")
        }
        guard let sealed = try sending?.seal(plain) else {
            throw PeerSyncFailure(.internalFault, "an item before the key exchange")
        }
        return sealed
    }

    private mutating func open(_ outer: WireSyncStreamItem) throws(PeerSyncFailure) -> WireSyncStreamItem {
        guard case .encrypted(let sealed)? = outer.action else {
            throw PeerSyncFailure(.authentication, "a plain item after the key exchange")
        }
        guard let plain = try receiving?.open(sealed) else {
            throw PeerSyncFailure(.internalFault, "an item before the key exchange")
        }
        return try Self.parse(plain)
    }

    private static func parse(
        _ bytes: some SwiftProtobufContiguousBytes
    ) throws(PeerSyncFailure) -> WireSyncStreamItem {
        do {
            var options = BinaryDecodingOptions()
            options.discardUnknownFields = true
            return try WireSyncStreamItem(serializedBytes: bytes, options: options)
        } catch {
            throw PeerSyncFailure(.protocolError, "an item that cannot be read")
        }
    }

    /// A bad key is a malformed item, not yet a question of identity. (Spec: §5.10.)
    private static func asProtocolError<Value>(
        _ body: () throws(PeerSyncFailure) -> Value
    ) throws(PeerSyncFailure) -> Value {
        do { return try body() } catch { throw PeerSyncFailure(.protocolError, error.reason) }
    }
}

import PeerSync
import PeerSyncProtocol
import SwiftProtobuf

/// A member made of the parts of the protocol, which sends what a session would not.
final class RawMember {
    let identity: PeerIdentity
    let name: String
    let stream: MemoryStream
    let end: Task<StreamEnd, Never>
    private(set) var transcript: [UInt8] = []
    private var sending: SealedDirection?

    init(_ identity: PeerIdentity, named name: String, of hub: TestHub) {
        self.identity = identity
        self.name = name
        (stream, end) = hub.connect()
    }

    /// Exchanges keys.
    func exchange() async throws {
        let key = try HybridPrivateKey()
        var opening = WireSyncStreamItem()
        opening.establishSharedSecret.protocolVersion = SessionKeys.transportVersion
        opening.establishSharedSecret.kemPublicKey = .init(key.publicKey)
        try await stream.send(opening.serializedBytes())
        let answer = try WireSyncStreamItem(serializedBytes: try await stream.receive() ?? [])
        let encapsulation = Array(answer.establishSharedSecret.kemEncapsulation)
        let keys = SessionKeys(
            secret: try key.open(encapsulation), publicKey: key.publicKey, encapsulation: encapsulation)
        transcript = keys.transcript
        sending = SealedDirection(key: keys.toResponder)
    }

    /// Exchanges keys and shows who it is; when `change` has had the handshake.
    func open(secret: String = "", _ change: (inout WireSyncStreamItem) -> Void = { _ in }) async throws {
        try await exchange()
        var item = try Handshake.item(
            of: identity, instanceID: name, pairingSecret: secret, transcript: transcript)
        change(&item)
        try await send(item)
    }

    func send(_ item: WireSyncStreamItem) async throws {
        guard let sealed = try sending?.seal(item.serializedBytes()) else { return }
        try await stream.send(sealed.serializedBytes())
    }
}

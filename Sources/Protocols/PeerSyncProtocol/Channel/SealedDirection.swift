package import Crypto
import FoundationEssentials

/// One direction of the encrypted channel: AES-256-GCM with a counter as nonce, no gaps, no window. (Spec: §4.5.)
///
/// A value with state: items must be sealed in the order in which they are sent, and opened in the order of arrival.
package struct SealedDirection: Sendable {
    private static let nonceBytes = 12
    private static let tagBytes = 16

    private let key: SymmetricKey
    /// The nonce of the next item; `max` is never used.
    private var counter: UInt64

    package init(key: SymmetricKey, counter: UInt64 = 0) {
        self.key = key
        self.counter = counter
    }

    private func nonce() -> [UInt8] { [0, 0, 0, 0] + BigEndian.bytes(counter) }

    private mutating func advance() throws(PeerSyncFailure) {
        guard counter < .max - 1 else {
            throw PeerSyncFailure(.internalFault, "the counter of this session is used up")
        }
        counter += 1
    }

    /// The outer item of a plain one.
    package mutating func seal(_ plain: [UInt8]) throws(PeerSyncFailure) -> WireSyncStreamItem {
        let nonce = nonce()
        try advance()
        let sealed: AES.GCM.SealedBox
        do { sealed = try AES.GCM.seal(plain, using: key, nonce: AES.GCM.Nonce(data: nonce)) } catch {
            throw PeerSyncFailure(.internalFault, "an item cannot be encrypted: \(error)")
        }
        var item = WireSyncStreamItem()
        item.encrypted.nonce = .init(nonce)
        item.encrypted.ciphertext = sealed.ciphertext + sealed.tag
        return item
    }

    /// The plain item inside an outer one.
    ///
    /// - Throws: ``PeerSyncFailure`` (`authentication`): another nonce than the next, a wrong tag.
    package mutating func open(_ item: WireSyncStreamItem.SyncActionEncrypted) throws(PeerSyncFailure) -> [UInt8] {
        let expected = nonce()
        guard item.nonce.count == Self.nonceBytes, item.nonce.elementsEqual(expected) else {
            throw PeerSyncFailure(.authentication, "an item out of its order")
        }
        guard item.ciphertext.count >= Self.tagBytes else {
            throw PeerSyncFailure(.authentication, "an item without a tag")
        }
        try advance()
        do {
            let box = try AES.GCM.SealedBox(
                nonce: AES.GCM.Nonce(data: expected), ciphertext: item.ciphertext.dropLast(Self.tagBytes),
                tag: item.ciphertext.suffix(Self.tagBytes))
            return Array(try AES.GCM.open(box, using: key))
        } catch {
            throw PeerSyncFailure(.authentication, "an item that does not open")
        }
    }
}

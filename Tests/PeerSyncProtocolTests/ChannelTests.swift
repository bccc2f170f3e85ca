import BackupFormats
import Crypto
import Foundation
import PeerSyncProtocol
import SwiftProtobuf
import Testing

@Suite("The encrypted channel")
struct ChannelTests {
    @Test("seals and opens the original's items byte for byte")
    func items() throws {
        let vectors = try Vectors.load("encrypted_items")
        let session = try vectors.object("session")
        var sending = [
            "initiator-to-responder": SealedDirection(key: SymmetricKey(data: try session.hex("i2r_key"))),
            "responder-to-initiator": SealedDirection(key: SymmetricKey(data: try session.hex("r2i_key"))),
        ]
        var receiving = sending
        let items = try vectors.list("items_in_sending_order")
        #expect(items.count == 7)
        for item in items {
            let direction = try item.text("direction")
            let plain = try item.hex("plaintext_item")
            let outer = try #require(try sending[direction]?.seal(plain))
            let bytes = [UInt8](try outer.serializedData())
            #expect(bytes == (try item.hex("outer_item")))
            #expect(Envelope(payload: bytes).encoded == (try item.hex("connect_envelope_identity")))
            #expect(try receiving[direction]?.open(outer.encrypted) == plain)
        }
    }

    @Test("ends at the first item that is replayed, out of order, cut, changed or reflected")
    func negatives() throws {
        let vectors = try Vectors.load("encrypted_items")
        let key = SymmetricKey(data: try vectors.object("session").hex("i2r_key"))
        for sequence in try vectors.list("negative") {
            let name = try sequence.text("name")
            var direction = SealedDirection(key: key)
            var accepted = 0
            for outer in try sequence.list("outer_items") {
                let bytes = try #require(Hex.decode(outer.stringValue ?? ""))
                guard let item = try? WireSyncStreamItem(serializedBytes: bytes),
                    case .encrypted(let sealed) = item.action,
                    let plain = try? direction.open(sealed),
                    (try? WireSyncStreamItem(serializedBytes: plain)) != nil
                else { break }
                accepted += 1
            }
            let expected = try #require(sequence["items_accepted_before_failure"]?.intValue)
            #expect(accepted == Int(expected), "\(name)")
        }
    }

    @Test("is closed before its counter begins anew")
    func counter() throws {
        var direction = SealedDirection(key: SymmetricKey(size: .bits256), counter: .max - 2)
        _ = try direction.seal([1])
        #expect(throws: PeerSyncFailure.self) { _ = try direction.seal([2]) }
    }
}

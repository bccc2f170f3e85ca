import BackupFormats
import Foundation
import PeerSyncProtocol
import SwiftProtobuf
import Testing

@Suite("Messages of peer sync")
struct MessageTests {
    static let types: [any Message.Type] = [
        WireSyncStreamItem.self, WireSyncStreamItem.SyncActionConnectRepo.self, WireOperation.self, WireConfig.self,
        WireMultihost.self, WireRepo.self, WirePlan.self, WirePeerState.self, WireSetRemoteClientConfigRequest.self,
        WireSetRemoteClientConfigResponse.self, WireSyncStateStreamRequest.self, WireAuthenticateRequest.self,
        WireAuthorizationToken.self, WireGetOperationMetadataResponse.self, WireLogDataEntry.self,
        WireSetAvailableResourcesRequest.self, WireSetConfigRequest.self,
    ]

    /// The original writes members of a `oneof` behind all others, our library in the order of their numbers; a reader
    /// must take both. And one sample is a list in the unpacked form, which is read but never written.
    static let otherOrder: Set<String> = [
        "receive config", "set config", "set remote client config request", "repo full", "plan full",
    ]
    static let unpacked: Set<String> = ["manifest with unpacked repeated int64 (must be accepted)"]

    @Test("of the original are read, written to the same bytes, and mean the same JSON")
    func samples() throws {
        let samples = try Vectors.load("proto_samples").list("samples")
        #expect(samples.count == 56)
        for sample in samples {
            let name = try sample.text("name")
            let full = try sample.text("message")
            let type = try #require(Self.types.first { $0.protoMessageName == full }, "\(full) of \(name)")
            let bytes = try sample.hex("hex")
            let message = try type.init(serializedBytes: bytes)
            let written = [UInt8](try message.serializedData())
            if Self.otherOrder.contains(name) {
                #expect(written.sorted() == bytes.sorted(), "\(name)")
            } else if !Self.unpacked.contains(name) {
                #expect(written == bytes, "\(name)")
            }
            let again = try type.init(serializedBytes: written)
            #expect(again.isEqualTo(message: message), "\(name)")
            guard let json = sample["json"], !json.isNull else { continue }
            var options = JSONDecodingOptions()
            options.ignoreUnknownFields = true
            let parsed = try type.init(jsonString: json.compactText, options: options)
            let plain = try known(message)
            #expect(parsed.isEqualTo(message: plain), "\(name)")
        }
    }

    /// The message without fields that our schema does not name.
    private func known(_ message: any Message) throws -> any Message {
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        return try type(of: message).init(serializedBytes: message.serializedData() as Data, options: options)
    }

    @Test("travel in the original's envelopes, whatever the pieces")
    func envelopes() throws {
        for sample in try Vectors.load("connect_envelopes").list("samples") {
            let name = try sample.text("name")
            let bytes = try sample.hex("hex")
            let isValid = sample["valid"]?.boolValue ?? true
            for pieceCount in [1, 3, bytes.count] {
                var reader = EnvelopeReader(limit: 1 << 20)
                var found: [Envelope] = []
                do {
                    for start in stride(from: 0, to: bytes.count, by: pieceCount) {
                        reader.append(bytes[start..<min(bytes.count, start + pieceCount)])
                        while let envelope = try reader.next() { found.append(envelope) }
                    }
                    try reader.finish()
                } catch {
                    #expect(!isValid, "\(name): \(error)")
                    continue
                }
                guard isValid || sample["flags"] == 1 else {
                    Issue.record("accepted: \(name)")
                    continue
                }
                #expect(found.count == 1 && found.first?.encoded == bytes, "\(name)")
                let flags = try #require(sample["flags"]?.intValue)
                #expect(
                    found.first?.isCompressed == (flags & 1 == 1) && found.first?.isEnd == (flags & 2 == 2), "\(name)")
            }
        }
    }

    @Test("are not taken when longer than the limit, before memory is taken")
    func limit() throws {
        var reader = EnvelopeReader()
        reader.append([0, 0, 1, 0, 1])
        #expect(throws: PeerSyncFailure.self) { _ = try reader.next() }
    }
}

import BackupFormats
import PeerSyncProtocol
import SwiftProtobuf

/// What the original sent and wrote: the inputs that are mutated.
enum FuzzCorpus {
    /// Larger ones would cost time and find nothing new.
    private static let maxBytes = 700

    static func envelopes() throws -> [[UInt8]] {
        try events().compactMap { $0["envelope"] == nil ? nil : try $0.hex("envelope") }.filter { $0.count < maxBytes }
    }

    /// Plain items of recorded sessions, the items of samples, and one of each action.
    static func items() throws -> [[UInt8]] {
        let recorded = try events().compactMap { $0["plaintext"] == nil ? nil : try $0.hex("plaintext") }
        let samples = try samples().filter { $0.type == WireSyncStreamItem.self }.map(\.bytes)
        let actions = try SessionTests.actions.map { try $0.item.serializedBytes() as [UInt8] }
        return (recorded + samples + actions).filter { $0.count < maxBytes }
    }

    /// Messages of all kinds.
    static func samples() throws -> [(type: any Message.Type, bytes: [UInt8])] {
        try Vectors.load("proto_samples").list("samples").compactMap { sample in
            let name = try sample.text("message")
            guard let type = MessageTests.types.first(where: { $0.protoMessageName == name }) else { return nil }
            return (type, try sample.hex("hex"))
        }
    }

    private static func events() throws -> [JSONValue] {
        try Vectors.load("session_trace").list("streams").flatMap { try $0.list("events") }
    }
}

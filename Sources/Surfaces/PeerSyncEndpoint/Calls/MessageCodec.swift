import PeerSyncProtocol
import SwiftProtobuf

/// How the message of a call with one answer is written; the answer is written the same way.
enum MessageCodec: String, CaseIterable {
    case binary = "application/proto"
    case json = "application/json"

    func decode<Value: Message>(_ bytes: [UInt8]) throws(PeerSyncFailure) -> Value {
        do {
            switch self {
            case .binary: return try Value(serializedBytes: bytes)
            case .json:
                var options = JSONDecodingOptions()
                options.ignoreUnknownFields = true
                return try Value(jsonUTF8Bytes: bytes.isEmpty ? Array("{}".utf8) : bytes, options: options)
            }
        } catch {
            throw PeerSyncFailure(.invalidArgument, "the request is not what its type says: \(error)")
        }
    }

    func encode(_ message: any Message) throws -> [UInt8] {
        switch self {
        case .binary: try message.serializedBytes()
        case .json: try message.jsonUTF8Bytes()
        }
    }
}

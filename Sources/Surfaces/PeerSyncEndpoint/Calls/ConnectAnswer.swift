import BackupFormats
import BackupProtocol
import ManagementAPI
import PeerSyncProtocol

/// Answers as Connect has them. (Spec: backrest-sync §3.1, §3.3.)
enum ConnectAnswer {
    private static let streamHeaders: [(name: String, value: String)] = [
        ("content-type", StreamHead.contentType), ("connect-accept-encoding", "gzip"),
    ]

    /// An answer of messages; its status is always 200, and its last message says how it ended.
    static func stream(_ source: any ByteSource) -> RESTResponse {
        var response = RESTResponse(status: 200, headers: streamHeaders, body: .stream(source, length: nil))
        response.isFeed = true
        return response
    }

    /// A stream that ends before it has begun.
    static func streamEnd(_ end: StreamEnd) -> RESTResponse {
        RESTResponse(
            status: 200, headers: streamHeaders,
            body: .bytes(Envelope(payload: end.encoded, isEnd: true).encoded))
    }

    /// The failure of a call with one answer.
    static func failure(_ end: StreamEnd) -> RESTResponse {
        RESTResponse(
            status: end.code?.httpStatus ?? 200, headers: [("content-type", "application/json")],
            body: .bytes(Array(end.error.compactText.utf8)))
    }

    static func message(_ bytes: [UInt8], as codec: MessageCodec) -> RESTResponse {
        RESTResponse(status: 200, headers: [("content-type", codec.rawValue)], body: .bytes(bytes))
    }

    static let unknownStreamType = text(
        415, "Only Connect with binary messages is spoken here.", [("accept-post", StreamHead.contentType)])

    static let unknownType = text(
        415, "Only Connect is spoken here, with binary or JSON messages.",
        [("accept-post", MessageCodec.allCases.map(\.rawValue).joined(separator: ", "))])

    static let notAllowed = text(405, "Only POST is possible here.", [("allow", "POST")])

    static let unknownMethod = text(404, "There is no such method.")

    static func text(
        _ status: Int, _ text: String, _ headers: [(name: String, value: String)] = []
    ) -> RESTResponse {
        RESTResponse(
            status: status, headers: [("content-type", "text/plain; charset=utf-8")] + headers,
            body: .bytes(Array("\(text)\n".utf8)))
    }
}

import NIOHTTP1

/// One request to a bucket, which can be sent again.
struct S3Request: Sendable {
    var method: HTTPMethod
    /// nil for the bucket itself.
    var key: String?
    var query: [(String, String)] = []
    /// Names in lower case.
    var headers: [(String, String)] = []
    var body: S3Body?
    /// The longest answer that is taken.
    var answerLimit = S3Limits.answer
    /// What is said where it fails: "The object a/b of s3.example.org/bucket cannot be read".
    var summary: String

    init(_ method: HTTPMethod, _ key: String?, _ summary: String) {
        self.method = method
        self.key = key
        self.summary = summary
    }

    /// The body with its checksum, which buckets with object lock and deletions of many demand.
    mutating func attach(_ body: S3Body) {
        self.body = body
        headers.append(("content-md5", body.md5))
    }
}

struct S3Response: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]

    func xml() throws -> XMLElement { try XMLElement(parsing: body) }
}

/// Limits of the protocol and of ours.
package enum S3Limits {
    /// Parts of an upload but the last hold at least so much.
    package static let smallestPart = 5 << 20
    package static let largestPart = 5 << 30
    package static let partCount = 10_000
    /// What a stream of unknown length may hold. (Spec: xo-proxy §4.2.)
    package static let unknownStream: UInt64 = 50_000_000_000
    /// Above this, objects are copied in parts.
    package static let copy: UInt64 = 5 << 30
    /// Objects that are deleted by one request.
    package static let deletions = 1000
    /// Bytes of parts of one stream that are on their way at once, where there is room for two.
    package static let inFlight = 32 << 20
    /// Longer parts wait in a file, not in memory.
    package static let partInMemory = 32 << 20
    /// Bytes that go to and from that file at once.
    static let scratchPiece = 1 << 20
    /// Bytes that a stream asks for at once.
    package static let range = 8 << 20
    /// Of listings and errors.
    package static let answer = 16 << 20
    /// Before these pauses a request is sent again. (Spec: xo-proxy §4.2.)
    package static let pauses: [Duration] = [
        .milliseconds(100), .milliseconds(200), .milliseconds(500), .seconds(1), .seconds(2),
    ]
}

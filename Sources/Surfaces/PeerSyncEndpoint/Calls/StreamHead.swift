import ManagementAPI
import PeerSyncProtocol

/// What the head of a request for a Connect stream says.
struct StreamHead: Sendable {
    static let contentType = "application/connect+proto"
    private static let maxTimeoutDigits = 10

    /// Of the request's marked messages.
    let encoding: MessageEncoding
    let timeout: Duration?

    /// - Returns: nil where the type of the body is another.
    /// - Throws: ``PeerSyncFailure`` for what ends the stream before it begins.
    init?(_ request: RESTRequest) throws(PeerSyncFailure) {
        guard ContentType(request.header("content-type")) == ContentType(Self.contentType) else { return nil }
        try Self.checkVersion(request)
        encoding = try MessageEncoding(field: request.header("connect-content-encoding"))
        timeout = try Self.timeout(of: request)
    }

    static func checkVersion(_ request: RESTRequest) throws(PeerSyncFailure) {
        guard let version = request.header("connect-protocol-version"), version != "1" else { return }
        throw PeerSyncFailure(.invalidArgument, "version '\(version.prefix(16))' of Connect; 1 is spoken here")
    }

    /// - Throws: ``PeerSyncFailure`` where the value is not at most ten digits.
    static func timeout(of request: RESTRequest) throws(PeerSyncFailure) -> Duration? {
        guard let text = request.header("connect-timeout-ms") else { return nil }
        guard (1...maxTimeoutDigits).contains(text.utf8.count),
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let milliseconds = Int64(text)
        else { throw PeerSyncFailure(.invalidArgument, "a timeout that is not a number of at most ten digits") }
        return .milliseconds(milliseconds)
    }
}

/// The type of a body, without what stands behind it.
struct ContentType: Equatable {
    let name: String

    init?(_ field: String?) {
        guard let field else { return nil }
        var name = field.prefix { $0 != ";" }
        while name.last?.isWhitespace == true { name.removeLast() }
        while name.first?.isWhitespace == true { name.removeFirst() }
        self.name = name.lowercased()
    }
}

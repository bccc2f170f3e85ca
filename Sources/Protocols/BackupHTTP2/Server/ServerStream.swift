import NIOHPACK

/// One request on an HTTP/2 connection, from its head to the end of its answer.
final class ServerStream {
    enum BodyTreatment {
        case collect(limit: Int, tooLong: StreamAnswer?)
        case drop
    }

    /// Room that is made for a body before its bytes arrive, at most; and how many times the first piece.
    private static let reserveLimit = 4 * 1024 * 1024 + 64
    private static let reserveFactor = 16

    let head: StreamHead
    var treatment: BodyTreatment
    var body: [UInt8] = []
    /// Whether the receiver gets the request when its last byte is here.
    var awaitsReceipt: Bool
    /// The last byte of the request has come.
    var isComplete = false
    var hasAnswer = false
    var isClosed = false
    /// Sends a streamed body.
    var sender: Task<Void, Never>?

    init(head: StreamHead, treatment: BodyTreatment, awaitsReceipt: Bool) {
        self.head = head
        self.treatment = treatment
        self.awaitsReceipt = awaitsReceipt
    }

    /// Makes room once, by what the request says about its length, and believes it only in proportion to what has come.
    func reserve(first count: Int, limit: Int) {
        guard body.isEmpty, !isComplete else { return }
        let said = head.header("content-length").flatMap { Int($0) } ?? Self.encodedSize(in: head.target) ?? 0
        body.reserveCapacity(max(count, min(said, limit, Self.reserveLimit, count * Self.reserveFactor)))
    }

    /// The parameter of chunk and blob uploads that tells the body's length.
    private static func encodedSize(in target: String) -> Int? {
        let name = "encoded-size="
        let text = target.utf8
        guard let mark = text.firstIndex(of: UInt8(ascii: "?")) else { return nil }
        for part in text[text.index(after: mark)...].split(separator: UInt8(ascii: "&"))
        where part.starts(with: name.utf8) {
            return Int(Substring(part.dropFirst(name.utf8.count)))
        }
        return nil
    }
}

extension StreamHead {
    /// nil where the pseudo fields of a request are not there.
    init?(_ fields: HPACKHeaders) {
        guard let method = fields.first(name: ":method") else { return nil }
        var headers: [(name: String, value: String)] = []
        headers.reserveCapacity(fields.count)
        var cookies: [String] = []
        for (name, value, _) in fields where name.utf8.first != UInt8(ascii: ":") {
            if name == "cookie" { cookies.append(value) } else { headers.append((name, value)) }
        }
        // HTTP/2 may split cookies over several fields. (RFC 9113 8.2.3.)
        if !cookies.isEmpty { headers.append(("cookie", cookies.joined(separator: "; "))) }
        if let authority = fields.first(name: ":authority"), !headers.contains(where: { $0.name == "host" }) {
            headers.append(("host", authority))
        }
        self.init(method: method, target: fields.first(name: ":path") ?? "/", headers: headers)
    }
}

import NIOCore
import NIOHPACK

/// One request on an HTTP/2 connection, from its head to the end of its answer.
final class ServerStream {
    enum BodyTreatment {
        case collect(limit: Int, tooLong: StreamAnswer?)
        case drop
        /// Give it to its reader as it comes.
        case stream(ReceivedBody)
    }

    /// Room that is made for a body is at most so many times what has come.
    private static let reserveFactor = 16

    let head: StreamHead
    var treatment: BodyTreatment
    var body: [UInt8] = []
    /// Memory that ``body`` takes.
    private(set) var room = 0
    private var announcedLength: Int?
    /// Whether the receiver gets the request when its last byte is here.
    var awaitsReceipt: Bool
    /// The last byte of the request has come.
    var isComplete = false
    var hasAnswer = false
    var isClosed = false
    /// Goes on until one side has enough: a stop does not wait for it.
    var isFeed = false
    /// Since when a piece of the answer waits for the client to take any of it.
    var stalledSince: NIODeadline?
    /// The client's window as HTTP/2 reported it last.
    var outboundWindow = 0
    /// The receive window as HTTP/2 reported it last.
    var window: Int
    /// Bytes of a streamed body that the budget counts.
    var waitingBytes = 0
    /// Makes the answer of a streamed request.
    var worker: Task<Void, Never>?
    /// Sends a streamed body.
    var sender: Task<Void, Never>?

    init(head: StreamHead, treatment: BodyTreatment, awaitsReceipt: Bool, window: Int) {
        self.head = head
        self.treatment = treatment
        self.awaitsReceipt = awaitsReceipt
        self.window = window
    }

    /// Makes room for so many bytes more, by what the request says about its length, which is believed only in
    /// proportion to what has come. A body moves once or twice and then has exactly the room that it needs.
    ///
    /// - Returns: Memory that was taken.
    func reserve(_ count: Int, limit: Int) -> Int {
        let needed = body.count + count
        if needed > body.capacity {
            let said = announcedLength ?? lengthInHead
            announcedLength = said
            // Where nothing was said, by doubling.
            let expected = said >= needed ? min(said, limit) : 2 * body.capacity
            body.reserveCapacity(max(needed, min(expected, needed * Self.reserveFactor)))
        }
        defer { room = body.capacity }
        return body.capacity - room
    }

    private var lengthInHead: Int {
        head.header("content-length").flatMap { Int($0) } ?? Self.encodedSize(in: head.target) ?? 0
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

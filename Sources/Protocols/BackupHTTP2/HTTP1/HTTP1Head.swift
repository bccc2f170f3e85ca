package import NIOCore

/// Why bytes are no HTTP/1.1 message, with the status that a server answers.
package struct HTTP1Error: Error, Sendable, CustomStringConvertible {
    package let status: Int
    package let description: String

    package init(status: Int, description: String) {
        self.status = status
        self.description = description
    }

    package static func malformed(_ what: String) -> HTTP1Error { HTTP1Error(status: 400, description: what) }
}

/// The head of a request or an answer: the start line and the fields. (RFC 9112.)
///
/// Strict where two readers could disagree on where a message ends, lenient in nothing else that
/// clients are known to need: Host and Connection may be missing.
package struct HTTP1Head: Sendable {
    /// The largest head; a longer one is answered with 431.
    package static let byteLimit = 64 * 1024
    package static let fieldLimit = 100

    /// The three parts of the start line; the third of an answer may be empty.
    package var start: (String, String, String)
    /// Names in lower case, values without the blanks around them.
    package var headers: [(name: String, value: String)]

    /// Takes a head off the front of `buffer`; nil where its end has not come yet. Empty lines before it are skipped.
    package static func take(from buffer: inout ByteBuffer, limit: Int = byteLimit) throws(HTTP1Error) -> HTTP1Head? {
        while let byte = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self),
            byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n")
        {
            buffer.moveReaderIndex(forwardBy: 1)
        }
        guard let length = headLength(in: buffer.readableBytesView.prefix(limit)) else {
            if buffer.readableBytes >= limit { throw HTTP1Error(status: 431, description: "the head is too long") }
            return nil
        }
        guard let bytes = buffer.readBytes(length: length) else { return nil }
        return try HTTP1Head(bytes)
    }

    /// Bytes up to and with the empty line.
    private static func headLength(in view: ByteBufferView) -> Int? {
        var lineStart = view.startIndex
        while let end = view[lineStart...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = view[lineStart..<end]
            if line.isEmpty || (line.count == 1 && line.first == UInt8(ascii: "\r")) {
                return end + 1 - view.startIndex
            }
            lineStart = end + 1
        }
        return nil
    }

    private init(_ bytes: [UInt8]) throws(HTTP1Error) {
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[...]
        guard let first = lines.popFirst() else { throw .malformed("no start line") }
        let parts = Self.withoutReturn(first).split(
            separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2 else { throw .malformed("no start line") }
        start = (try Self.text(parts[0]), try Self.text(parts[1]), parts.count > 2 ? try Self.text(parts[2]) : "")
        headers = []
        for line in lines {
            let line = Self.withoutReturn(line)
            if line.isEmpty { break }
            guard headers.count < Self.fieldLimit else {
                throw HTTP1Error(status: 431, description: "too many header fields")
            }
            headers.append(try Self.field(line))
        }
    }

    private static func withoutReturn(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(HTTP1Error) -> String {
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { throw .malformed("control characters") }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func field(_ line: ArraySlice<UInt8>) throws(HTTP1Error) -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
            throw .malformed("a header line without a name")
        }
        let name = line[..<colon]
        guard name.allSatisfy(isTokenCharacter) else { throw .malformed("bad characters in a header name") }
        var value = line[(colon + 1)...]
        while let first = value.first, first == 0x20 || first == 0x09 { value.removeFirst() }
        while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
            throw .malformed("control characters in a header value")
        }
        return (String(decoding: name, as: UTF8.self).lowercased(), String(decoding: value, as: UTF8.self))
    }

    static func isTokenCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// Whether a list field holds this word, in any case.
    package func header(_ name: String, holds word: String) -> Bool {
        headers.contains { field in
            field.name == name
                && field.value.lowercased().split(separator: ",").contains { part in
                    part.drop { $0 == " " || $0 == "\t" }.prefix { $0 != " " && $0 != "\t" && $0 != ";" } == word
                }
        }
    }
}

/// The head of a request.
package struct HTTP1RequestHead: Sendable {
    package let method: String
    /// Path and query; an absolute target has lost its scheme and authority.
    package let target: String
    package let isVersion10: Bool
    package let fields: HTTP1Head

    package init(_ head: HTTP1Head) throws(HTTP1Error) {
        let (method, target, version) = head.start
        guard !method.isEmpty, method.utf8.allSatisfy(HTTP1Head.isTokenCharacter), !target.isEmpty else {
            throw .malformed("no request line")
        }
        guard version == "HTTP/1.1" || version == "HTTP/1.0" else { throw .malformed("no HTTP/1 version") }
        self.method = method
        self.target = Self.withoutAuthority(target)
        isVersion10 = version == "HTTP/1.0"
        fields = head
    }

    private static func withoutAuthority(_ target: String) -> String {
        for scheme in ["https://", "http://"] where target.lowercased().hasPrefix(scheme) {
            let rest = target.dropFirst(scheme.count)
            guard let slash = rest.firstIndex(where: { $0 == "/" || $0 == "?" }) else { return "/" }
            return rest[slash] == "/" ? String(rest[slash...]) : "/" + rest[slash...]
        }
        return target
    }

    /// Whether the client wants to send more requests on this connection.
    package var keepsAlive: Bool {
        isVersion10 ? fields.header("connection", holds: "keep-alive") : !fields.header("connection", holds: "close")
    }
}

/// The head of an answer.
package struct HTTP1ResponseHead: Sendable {
    package let status: Int
    package let isVersion10: Bool
    package let fields: HTTP1Head

    package init(_ head: HTTP1Head) throws(HTTP1Error) {
        guard head.start.0.hasPrefix("HTTP/1."), let status = Int(head.start.1), (100...999).contains(status) else {
            throw .malformed("the answer is no HTTP/1.1")
        }
        self.status = status
        isVersion10 = head.start.0 == "HTTP/1.0"
        fields = head
    }
}

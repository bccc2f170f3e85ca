package import NIOCore

/// Takes a message's body out of the bytes that follow its head.
package struct HTTP1Body: Sendable {
    private enum State {
        case length(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailers(Int)
        case untilClose
        case ended
    }

    /// Longest line with a chunk's size, and most bytes of trailers.
    private static let lineLimit = 4096

    private var state: State

    private init(_ state: State) { self.state = state }

    package var hasEnded: Bool { if case .ended = state { true } else { false } }
    /// Whether only the end of the connection ends the body.
    package var lastsUntilClose: Bool { if case .untilClose = state { true } else { false } }

    /// The body of a request. (RFC 9112 6.3.)
    ///
    /// - Throws: ``HTTP1Error`` where two readers could disagree on the length.
    package init(of request: HTTP1RequestHead) throws(HTTP1Error) {
        self.init(try Self.announced(request.fields) ?? .ended)
        if case .length(0) = state { state = .ended }
    }

    /// The body of the answer to a request of this method.
    package init(of response: HTTP1ResponseHead, method: String) throws(HTTP1Error) {
        if method == "HEAD" || response.status < 200 || response.status == 204 || response.status == 304 {
            self.init(.ended)
        } else {
            self.init(try Self.announced(response.fields) ?? .untilClose)
            if case .length(0) = state { state = .ended }
        }
    }

    private static func announced(_ head: HTTP1Head) throws(HTTP1Error) -> State? {
        let codings = head.headers.filter { $0.name == "transfer-encoding" }
        let lengths = head.headers.filter { $0.name == "content-length" }
        if !codings.isEmpty {
            guard codings.count == 1, codings[0].value.lowercased() == "chunked", lengths.isEmpty else {
                throw .malformed("unknown transfer coding")
            }
            return .chunkSize
        }
        guard let first = lengths.first else { return nil }
        guard lengths.allSatisfy({ $0.value == first.value }), !first.value.isEmpty, first.value.utf8.count <= 18,
            first.value.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(first.value)
        else { throw .malformed("bad content-length") }
        return .length(length)
    }

    /// The next bytes of the body, at most `limit`; nil where more must arrive or the body has ended.
    package mutating func take(from buffer: inout ByteBuffer, limit: Int = .max) throws(HTTP1Error) -> ByteBuffer? {
        while true {
            switch state {
            case .ended: return nil
            case .untilClose:
                return buffer.readableBytes > 0 ? buffer.readSlice(length: min(limit, buffer.readableBytes)) : nil
            case .length(let left):
                guard buffer.readableBytes > 0 else { return nil }
                let count = min(left, buffer.readableBytes, limit)
                state = left == count ? .ended : .length(left - count)
                return buffer.readSlice(length: count)
            case .chunkSize:
                guard let line = try Self.line(from: &buffer) else { return nil }
                let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != 0x20 && $0 != 0x09 }
                guard digits.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }), digits.count <= 15,
                    let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
                else { throw .malformed("bad chunk size") }
                state = size == 0 ? .trailers(0) : .chunk(size)
            case .chunk(let left):
                guard buffer.readableBytes > 0 else { return nil }
                let count = min(left, buffer.readableBytes, limit)
                state = left == count ? .chunkEnd : .chunk(left - count)
                return buffer.readSlice(length: count)
            case .chunkEnd:
                guard let line = try Self.line(from: &buffer) else { return nil }
                guard line.isEmpty else { throw .malformed("a chunk longer than it said") }
                state = .chunkSize
            case .trailers(let seen):
                guard let line = try Self.line(from: &buffer) else { return nil }
                guard seen + line.count <= Self.lineLimit else { throw .malformed("trailers too long") }
                if line.isEmpty { state = .ended } else { state = .trailers(seen + line.count) }
            }
        }
    }

    private static func line(from buffer: inout ByteBuffer) throws(HTTP1Error) -> [UInt8]? {
        let view = buffer.readableBytesView
        guard let end = view.firstIndex(of: UInt8(ascii: "\n")) else {
            if view.count > lineLimit { throw .malformed("a line too long") }
            return nil
        }
        var line = Array(view[..<end])
        buffer.moveReaderIndex(forwardBy: end + 1 - view.startIndex)
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        guard line.count <= lineLimit else { throw .malformed("a line too long") }
        return line
    }
}

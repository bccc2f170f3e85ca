import BackupFormats

/// Cuts the XML of an XML-RPC value into tags and text. Attributes are passed over; what XML-RPC has not (documents
/// with a type, sections of raw text) is refused.
struct XMLScanner {
    enum Token: Equatable {
        case open(String)
        case close(String)
        case text(String)
    }

    private let bytes: [UInt8]
    private(set) var offset = 0
    /// The closing half of a tag such as `<value/>`.
    private var pendingClose: String?

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next token; nil at the end.
    mutating func next() throws(FormatError) -> Token? {
        if let name = pendingClose {
            pendingClose = nil
            return .close(name)
        }
        while offset < bytes.count {
            guard bytes[offset] == UInt8(ascii: "<") else {
                let start = offset
                while offset < bytes.count, bytes[offset] != UInt8(ascii: "<") { offset += 1 }
                return .text(try Self.decode(bytes[start..<offset], at: start))
            }
            if starts(with: "<?") {
                try pass("?>")
            } else if starts(with: "<!--") {
                try pass("-->")
            } else if starts(with: "<!") {
                throw .invalid("a declaration in XML", offset: offset)
            } else {
                return try tag()
            }
        }
        return nil
    }

    private mutating func tag() throws(FormatError) -> Token {
        let start = offset
        guard let end = bytes[start...].firstIndex(of: UInt8(ascii: ">")) else {
            throw .truncated(offset: start, needed: 1, available: 0)
        }
        offset = end + 1
        var inner = bytes[(start + 1)..<end]
        let isClose = inner.first == UInt8(ascii: "/")
        if isClose { inner = inner.dropFirst() }
        let isEmpty = inner.last == UInt8(ascii: "/")
        if isEmpty { inner = inner.dropLast() }
        let name = String(decoding: inner.prefix { $0 > 0x20 }, as: UTF8.self)
        guard !name.isEmpty, !(isClose && isEmpty) else { throw .invalid("a tag without name", offset: start) }
        if isEmpty { pendingClose = name }
        return isClose ? .close(name) : .open(name)
    }

    private func starts(with text: String) -> Bool { bytes[offset...].starts(with: text.utf8) }

    /// Moves behind the next `end`.
    private mutating func pass(_ end: String) throws(FormatError) {
        let start = offset
        while offset < bytes.count {
            if starts(with: end) {
                offset += end.utf8.count
                return
            }
            offset += 1
        }
        throw .truncated(offset: start, needed: 1, available: 0)
    }

    private static func decode(_ text: ArraySlice<UInt8>, at start: Int) throws(FormatError) -> String {
        guard text.contains(UInt8(ascii: "&")) else { return String(decoding: text, as: UTF8.self) }
        var result = ""
        var rest = text
        while let ampersand = rest.firstIndex(of: UInt8(ascii: "&")) {
            result += String(decoding: rest[..<ampersand], as: UTF8.self)
            guard let end = rest[ampersand...].prefix(12).firstIndex(of: UInt8(ascii: ";")) else {
                throw .invalid("an entity without end in XML", offset: ampersand)
            }
            let name = String(decoding: rest[(ampersand + 1)..<end], as: UTF8.self)
            guard let character = entity(name) else { throw .invalid("unknown entity in XML", offset: ampersand) }
            result.unicodeScalars.append(character)
            rest = rest[(end + 1)...]
        }
        return result + String(decoding: rest, as: UTF8.self)
    }

    private static func entity(_ name: String) -> Unicode.Scalar? {
        switch name {
        case "lt": "<"
        case "gt": ">"
        case "amp": "&"
        case "quot": "\""
        case "apos": "'"
        default:
            if name.hasPrefix("#x") {
                UInt32(name.dropFirst(2), radix: 16).flatMap(Unicode.Scalar.init)
            } else if name.hasPrefix("#") {
                UInt32(name.dropFirst()).flatMap(Unicode.Scalar.init)
            } else {
                nil
            }
        }
    }
}

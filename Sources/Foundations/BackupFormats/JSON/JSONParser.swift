extension JSONValue {
    /// Nesting above this is refused, so that hostile input cannot exhaust the stack.
    package static let maxDepth = 64

    /// Reads one document and nothing behind it but white space. (RFC 8259; duplicate member names are refused.)
    ///
    /// Callers limit the length of `bytes`; the value takes a small multiple of it in memory.
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` at the offending byte, and
    ///   ``FormatError/truncated(offset:needed:available:)`` where the text ends too soon.
    package init(parsing bytes: [UInt8]) throws(FormatError) {
        var parser = JSONParser(bytes: bytes)
        self = try parser.document()
    }

    package init(parsing text: String) throws(FormatError) {
        try self.init(parsing: Array(text.utf8))
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(FormatError) -> JSONValue {
        let value = try value(depth: 0)
        skipBlanks()
        guard offset == bytes.count else { throw .invalid("text behind the JSON document", offset: offset) }
        return value
    }

    private mutating func skipBlanks() {
        while offset < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[offset]) { offset += 1 }
    }

    private mutating func next() throws(FormatError) -> UInt8 {
        guard offset < bytes.count else { throw .truncated(offset: offset, needed: 1, available: 0) }
        defer { offset += 1 }
        return bytes[offset]
    }

    private func peek() -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func value(depth: Int) throws(FormatError) -> JSONValue {
        guard depth <= JSONValue.maxDepth else { throw .invalid("JSON nested too deeply", offset: offset) }
        skipBlanks()
        let start = offset
        switch try next() {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true), start)
        case UInt8(ascii: "f"): return try word("false", .bool(false), start)
        case UInt8(ascii: "n"): return try word("null", .null, start)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number(start)
        default: throw .invalid("unexpected character in JSON", offset: start)
        }
    }

    private mutating func word(_ text: String, _ value: JSONValue, _ start: Int) throws(FormatError) -> JSONValue {
        let expected = Array(text.utf8)
        guard bytes.count - start >= expected.count else {
            throw .truncated(offset: start, needed: expected.count, available: bytes.count - start)
        }
        guard Array(bytes[start..<start + expected.count]) == expected else {
            throw .invalid("unexpected word in JSON", offset: start)
        }
        offset = start + expected.count
        return value
    }

    private mutating func digits() throws(FormatError) {
        guard let first = peek(), (0x30...0x39).contains(first) else {
            throw .invalid("digit expected in JSON number", offset: offset)
        }
        while let digit = peek(), (0x30...0x39).contains(digit) { offset += 1 }
    }

    private mutating func number(_ start: Int) throws(FormatError) -> JSONValue {
        offset = start
        if peek() == UInt8(ascii: "-") { offset += 1 }
        let isZero = peek() == UInt8(ascii: "0")
        let first = offset
        try digits()
        if isZero, offset > first + 1 { throw .invalid("leading zero in JSON number", offset: first) }
        if peek() == UInt8(ascii: ".") {
            offset += 1
            try digits()
        }
        if let letter = peek(), letter | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if let sign = peek(), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { offset += 1 }
            try digits()
        }
        return .number(String(decoding: bytes[start..<offset], as: UTF8.self))
    }

    private mutating func array(depth: Int) throws(FormatError) -> JSONValue {
        var items: [JSONValue] = []
        skipBlanks()
        if peek() == UInt8(ascii: "]") {
            offset += 1
            return .array(items)
        }
        while true {
            items.append(try value(depth: depth + 1))
            skipBlanks()
            let start = offset
            switch try next() {
            case UInt8(ascii: ","): continue
            case UInt8(ascii: "]"): return .array(items)
            default: throw .invalid("',' or ']' expected in JSON", offset: start)
            }
        }
    }

    private mutating func object(depth: Int) throws(FormatError) -> JSONValue {
        var members: [JSONObject.Member] = []
        var names: Set<String> = []
        skipBlanks()
        if peek() == UInt8(ascii: "}") {
            offset += 1
            return .object(JSONObject())
        }
        while true {
            skipBlanks()
            let start = offset
            guard try next() == UInt8(ascii: "\"") else {
                throw .invalid("member name expected in JSON", offset: start)
            }
            let name = try string()
            guard names.insert(name).inserted else {
                throw .invalid("duplicate member '\(name)' in JSON", offset: start)
            }
            skipBlanks()
            guard try next() == UInt8(ascii: ":") else { throw .invalid("':' expected in JSON", offset: offset - 1) }
            members.append(.init(name: name, value: try value(depth: depth + 1)))
            skipBlanks()
            switch try next() {
            case UInt8(ascii: ","): continue
            case UInt8(ascii: "}"): return .object(JSONObject(uniqueMembers: members))
            default: throw .invalid("',' or '}' expected in JSON", offset: offset - 1)
            }
        }
    }

    /// The opening quote has been read.
    private mutating func string() throws(FormatError) -> String {
        let start = offset
        var text: [UInt8] = []
        while true {
            let byte = try next()
            switch byte {
            case UInt8(ascii: "\""):
                guard let result = String(validating: text, as: UTF8.self) else {
                    throw .invalid("JSON string is not UTF-8", offset: start)
                }
                return result
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw .invalid("control character in JSON string", offset: offset - 1)
            default: text.append(byte)
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(FormatError) {
        let start = offset - 1
        switch try next() {
        case UInt8(ascii: "\""): text.append(UInt8(ascii: "\""))
        case UInt8(ascii: "\\"): text.append(UInt8(ascii: "\\"))
        case UInt8(ascii: "/"): text.append(UInt8(ascii: "/"))
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = UInt32(try fourDigits())
            if (0xd800..<0xdc00).contains(code) {
                guard try next() == UInt8(ascii: "\\"), try next() == UInt8(ascii: "u") else {
                    throw .invalid("unpaired surrogate in JSON string", offset: start)
                }
                let low = UInt32(try fourDigits())
                guard (0xdc00..<0xe000).contains(low) else {
                    throw .invalid("unpaired surrogate in JSON string", offset: start)
                }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else {
                throw .invalid("unpaired surrogate in JSON string", offset: start)
            }
            text += Array(String(Character(scalar)).utf8)
        default: throw .invalid("unknown escape in JSON string", offset: start)
        }
    }

    private mutating func fourDigits() throws(FormatError) -> UInt16 {
        guard bytes.count - offset >= 4 else {
            throw .truncated(offset: offset, needed: 4, available: bytes.count - offset)
        }
        let text = String(decoding: bytes[offset..<offset + 4], as: UTF8.self)
        guard let high = Hex.decode(text, allowUppercase: true) else {
            throw .invalid("four hexadecimal digits expected", offset: offset)
        }
        offset += 4
        return UInt16(high[0]) << 8 | UInt16(high[1])
    }
}

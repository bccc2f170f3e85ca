extension JSONValue {
    /// One line without white space, members in their order.
    package var compactText: String {
        var writer = JSONWriter(indent: nil)
        writer.write(self, depth: 0)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// Two blanks a level, members in their order; empty objects and arrays as `{}` and `[]`.
    package var prettyText: String {
        var writer = JSONWriter(indent: 2)
        writer.write(self, depth: 0)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// The bytes that are signed: members sorted, no white space. (Spec: formats §4.5.)
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` where a `null` stands anywhere in the document.
    package func canonicalBytes() throws(FormatError) -> [UInt8] {
        guard !containsNull else { throw .invalid("null has no canonical form", offset: 0) }
        var writer = JSONWriter(indent: nil)
        writer.write(sorted(), depth: 0)
        return writer.bytes
    }

    private var containsNull: Bool {
        switch self {
        case .null: true
        case .array(let items): items.contains { $0.containsNull }
        case .object(let object): object.members.contains { $0.value.containsNull }
        default: false
        }
    }
}

/// Writes JSON; the escapes are those of the canonical form in every style.
private struct JSONWriter {
    let indent: Int?
    var bytes: [UInt8] = []

    init(indent: Int?) { self.indent = indent }

    mutating func write(_ value: JSONValue, depth: Int) {
        switch value {
        case .null: bytes += Array("null".utf8)
        case .bool(let value): bytes += Array((value ? "true" : "false").utf8)
        case .number(let literal): bytes += Array(literal.utf8)
        case .string(let text): write(text)
        case .array(let items):
            bytes.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                separate(index, depth)
                write(item, depth: depth + 1)
            }
            close("]", isEmpty: items.isEmpty, depth)
        case .object(let object):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in object.members.enumerated() {
                separate(index, depth)
                write(member.name)
                bytes.append(UInt8(ascii: ":"))
                if indent != nil { bytes.append(UInt8(ascii: " ")) }
                write(member.value, depth: depth + 1)
            }
            close("}", isEmpty: object.members.isEmpty, depth)
        }
    }

    private mutating func separate(_ index: Int, _ depth: Int) {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        newLine(depth + 1)
    }

    private mutating func close(_ bracket: Unicode.Scalar, isEmpty: Bool, _ depth: Int) {
        if !isEmpty { newLine(depth) }
        bytes.append(UInt8(ascii: bracket))
    }

    private mutating func newLine(_ depth: Int) {
        guard let indent else { return }
        bytes.append(UInt8(ascii: "\n"))
        bytes += repeatElement(UInt8(ascii: " "), count: indent * depth)
    }

    private mutating func write(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): bytes += Array("\\\"".utf8)
            case UInt8(ascii: "\\"): bytes += Array("\\\\".utf8)
            case 0x08: bytes += Array("\\b".utf8)
            case 0x09: bytes += Array("\\t".utf8)
            case 0x0a: bytes += Array("\\n".utf8)
            case 0x0c: bytes += Array("\\f".utf8)
            case 0x0d: bytes += Array("\\r".utf8)
            case 0..<0x20: bytes += Array("\\u00\(Hex.encode([byte]))".utf8)
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

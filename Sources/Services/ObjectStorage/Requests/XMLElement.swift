import BackupFormats

/// An element of a small XML document: what S3 answers, no more. Attributes, comments and the prolog are skipped;
/// document types, and entities beyond the five of XML and numbers, are refused.
package struct XMLElement: Sendable, Equatable {
    package var name: String
    /// Of all direct text, joined.
    package var text: String
    package var children: [XMLElement]

    package init(name: String, text: String = "", children: [XMLElement] = []) {
        self.name = name
        self.text = text
        self.children = children
    }

    /// The first child of that name.
    package subscript(_ name: String) -> XMLElement? { children.first { $0.name == name } }

    package func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }

    /// - Throws: ``BackupFailure`` of kind `corruptData` for anything that is no such document.
    package init(parsing bytes: [UInt8]) throws {
        var parser = XMLParser(bytes: bytes[...])
        self = try parser.document()
    }

    /// The document of this element.
    package var document: String { "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\(markup)" }

    private var markup: String { "<\(name)>\(Self.escape(text))\(children.map { $0.markup }.joined())</\(name)>" }

    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default:
                // Carriage returns and other controls would be changed or refused by a reader.
                if character.value < 32 {
                    result += "&#\(character.value);"
                } else {
                    result.unicodeScalars.append(character)
                }
            }
        }
        return result
    }
}

private struct XMLParser {
    private static let depthLimit = 32

    var bytes: ArraySlice<UInt8>

    mutating func document() throws -> XMLElement {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes.removeFirst(3) }
        try skipMisc()
        guard take("<") else { throw Self.broken("it does not begin with an element") }
        let root = try element(depth: 0)
        try skipMisc()
        guard bytes.isEmpty else { throw Self.broken("something follows its end") }
        return root
    }

    /// After `<`.
    private mutating func element(depth: Int) throws -> XMLElement {
        guard depth < Self.depthLimit else { throw Self.broken("it is nested too deeply") }
        var result = XMLElement(name: try localName())
        if try !skipAttributes() { return result }
        var text: [UInt8] = []
        while true {
            let plain = bytes.prefix { $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: "&") }
            text += plain
            bytes = bytes[plain.endIndex...]
            if take("</") {
                guard try localName() == result.name else { throw Self.broken("an end tag has another name") }
                skipBlanks()
                guard take(">") else { throw Self.broken("an end tag does not end") }
                guard let decoded = String(validating: text, as: UTF8.self) else {
                    throw Self.broken("its text is not UTF-8")
                }
                result.text = decoded
                return result
            } else if take("<!--") {
                try skip(through: "-->")
            } else if take("<![CDATA[") {
                text += try skip(through: "]]>")
            } else if take("<?") {
                try skip(through: "?>")
            } else if take("<!") {
                throw Self.broken("it has a declaration inside")
            } else if take("<") {
                result.children.append(try element(depth: depth + 1))
            } else if take("&") {
                text += try entity()
            } else {
                throw Self.broken("it ends too early")
            }
        }
    }

    /// Without its prefix.
    private mutating func localName() throws -> String {
        let name = bytes.prefix { !Self.isBlank($0) && !Array("/><&=\"'".utf8).contains($0) }
        bytes = bytes[name.endIndex...]
        guard let text = String(validating: name, as: UTF8.self), let local = text.split(separator: ":").last else {
            throw Self.broken("a tag has no name")
        }
        return String(local)
    }

    /// - Returns: false where the element is empty: `/>`.
    private mutating func skipAttributes() throws -> Bool {
        while true {
            skipBlanks()
            if take("/>") { return false }
            if take(">") { return true }
            _ = try localName()
            skipBlanks()
            guard take("=") else { throw Self.broken("an attribute has no value") }
            skipBlanks()
            if take("\"") {
                try skip(through: "\"")
            } else if take("'") {
                try skip(through: "'")
            } else {
                throw Self.broken("an attribute has no quotes")
            }
        }
    }

    /// After `&`.
    private mutating func entity() throws -> [UInt8] {
        let name = String(decoding: try skip(through: ";", limit: 12), as: UTF8.self)
        let named = ["lt": "<", "gt": ">", "amp": "&", "quot": "\"", "apos": "'"]
        if let value = named[name] { return Array(value.utf8) }
        let code =
            name.hasPrefix("#x") ? UInt32(name.dropFirst(2), radix: 16) : UInt32(name.dropFirst())
        guard name.hasPrefix("#"), let code, let scalar = Unicode.Scalar(code) else {
            throw Self.broken("it has an unknown entity")
        }
        return Array(String(Character(scalar)).utf8)
    }

    private mutating func skipMisc() throws {
        while true {
            skipBlanks()
            if take("<?") { try skip(through: "?>") } else if take("<!--") { try skip(through: "-->") } else { return }
        }
    }

    private mutating func skipBlanks() { bytes = bytes.drop { Self.isBlank($0) } }

    /// - Returns: What was before `end`.
    @discardableResult
    private mutating func skip(through end: String, limit: Int = .max) throws -> ArraySlice<UInt8> {
        let mark = Array(end.utf8)
        var index = bytes.startIndex
        while bytes.endIndex - index >= mark.count, index - bytes.startIndex <= limit {
            if bytes[index...].starts(with: mark) {
                defer { bytes = bytes[(index + mark.count)...] }
                return bytes[..<index]
            }
            index += 1
        }
        throw Self.broken("it ends too early")
    }

    private mutating func take(_ text: String) -> Bool {
        guard bytes.starts(with: text.utf8) else { return false }
        bytes.removeFirst(text.utf8.count)
        return true
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }

    private static func broken(_ reason: String) -> BackupFailure {
        BackupFailure(.corruptData, "The answer is no readable XML: \(reason)")
    }
}

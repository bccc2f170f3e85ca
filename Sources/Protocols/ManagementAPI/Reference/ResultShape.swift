import BackupFormats

/// Reads the short notation in which endpoints say what they answer: `[{store, total?, used?}]`, `text`, `null`.
///
/// A member with `?` may be absent. What is not in the notation ("… or a task id") has no shape: anything.
enum ResultShape {
    /// JSON Schema of the value under `data`.
    static func schema(of result: String) -> JSONValue {
        switch result {
        case "null": return ["type": "null"]
        case "boolean": return ["type": "boolean"]
        case "text", "task id": return ["type": "string"]
        default: break
        }
        var rest = Substring(result)
        guard let shape = value(&rest), isNote(rest) else { return [:] }
        return shape
    }

    /// Whether what follows the notation speaks of members beside `data` or of order only.
    private static func isNote(_ text: Substring) -> Bool {
        text.isEmpty || text.hasPrefix(" and `") || text.hasPrefix(", oldest first") && !text.contains(" or ")
    }

    private static func value(_ rest: inout Substring) -> JSONValue? {
        switch rest.first {
        case "[":
            rest.removeFirst()
            guard let item = value(&rest), rest.first == "]" else { return nil }
            rest.removeFirst()
            return ["type": "array", "items": item]
        case "{": return object(&rest)
        default: return nil
        }
    }

    private static func object(_ rest: inout Substring) -> JSONValue? {
        rest.removeFirst()
        var properties: JSONObject = [:]
        var required: [JSONValue] = []
        while rest.first != "}" {
            let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" }
            guard !name.isEmpty else { return nil }
            rest.removeFirst(name.count)
            if rest.first == "?" { rest.removeFirst() } else { required.append(.string(String(name))) }
            if rest.hasPrefix(": ") {
                rest.removeFirst(2)
                guard let shape = value(&rest) else { return nil }
                properties[String(name)] = shape
            } else {
                properties[String(name)] = [:]
            }
            if rest.hasPrefix(", ") { rest.removeFirst(2) } else if rest.first != "}" { return nil }
        }
        rest.removeFirst()
        var shape: JSONObject = ["type": "object", "properties": .object(properties)]
        if !required.isEmpty { shape["required"] = .array(required) }
        return .object(shape)
    }
}

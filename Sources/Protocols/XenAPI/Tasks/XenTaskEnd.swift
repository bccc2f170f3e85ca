import BackupFormats

/// How a task of the pool ended.
enum XenTaskEnd: Sendable, Equatable {
    case success(String)
    case failure(XenFailure)
    case cancelled

    /// Nil while it runs.
    init?(_ record: JSONObject) {
        switch record["status"]?.stringValue {
        case "success": self = .success(record["result"]?.stringValue ?? "")
        case "failure":
            let info = record["error_info"]?.arrayValue ?? []
            self = .failure((XenFailure(info) ?? XenFailure(code: "INTERNAL_ERROR")).redacted())
        case "cancelled": self = .cancelled
        default: return nil
        }
    }

    /// The result, or what went wrong.
    func result() throws(XenFailure) -> String {
        switch self {
        case .success(let text): return XenTaskResult.text(text)
        case .failure(let failure): throw failure
        case .cancelled: throw XenFailure(code: "TASK_CANCELLED")
        }
    }
}

/// Results of tasks: empty, a text, or XML-RPC values. (Spec: xo-proxy §6.3.)
package enum XenTaskResult {
    /// What is inside `<value>…</value>`, and inside `<string>` there; other texts as they are.
    static func text(_ result: String) -> String {
        var text = Substring(result)
        for name in ["value", "string"] {
            guard text.hasPrefix("<\(name)>"), text.hasSuffix("</\(name)>") else { continue }
            text = text.dropFirst(name.utf8.count + 2).dropLast(name.utf8.count + 3)
        }
        if text == "<value/>" || text == "<string/>" { return "" }
        return text.hasPrefix("<") ? String(text) : unescaped(text)
    }

    /// All references in a result, in order: of the array that an import answers.
    package static func references(_ result: String) -> [String] {
        let mark = "OpaqueRef:"
        return result.split { "<>\"' ,[]\n".contains($0) }.filter { $0.hasPrefix(mark) && $0 != XenReference.null }
            .map(String.init)
    }

    private static func unescaped(_ text: Substring) -> String {
        guard text.contains("&") else { return String(text) }
        var result = ""
        var rest = text
        let names: [(String, Character)] = [
            ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&"),
        ]
        while let first = rest.first {
            if first == "&", let (name, character) = names.first(where: { rest.hasPrefix($0.0) }) {
                result.append(character)
                rest = rest.dropFirst(name.count)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }
}

import BackupFormats

/// The framing of calls: JSON-RPC 2.0, with the errors of old and new hosts. (Spec: xo-proxy §6.1.)
enum XenMessage {
    static func request(_ method: String, _ parameters: [JSONValue], id: Int) -> [UInt8] {
        let message: JSONValue = [
            "jsonrpc": "2.0", "id": .integer(id), "method": .string(method), "params": .array(parameters),
        ]
        return Array(message.compactText.utf8)
    }

    /// The result that an answer holds.
    ///
    /// - Throws: ``XenFailure`` where it holds an error, ``FormatError`` where it is no answer.
    static func result(_ bytes: [UInt8]) throws -> JSONValue {
        let message = try JSONValue(parsing: bytes)
        if let error = message["error"], !error.isNull { throw try failure(error) }
        guard let result = message["result"] else { throw FormatError.invalid("answer without result", offset: 0) }
        return result
    }

    /// `{ code, message: "CODE", data: [parameters] }`, or of old hosts `["CODE", parameters…]`.
    private static func failure(_ error: JSONValue) throws(FormatError) -> XenFailure {
        if let items = error.arrayValue {
            guard let failure = XenFailure(items) else { throw .invalid("empty error in answer", offset: 0) }
            return failure
        }
        guard let code = error["message"]?.stringValue else { throw .invalid("error without message", offset: 0) }
        let data = error["data"]
        return XenFailure(
            code: code, parameters: data?.arrayValue?.map(\.plainText) ?? data?.stringValue.map { [$0] } ?? [])
    }
}

extension XenFailure {
    /// From `["CODE", parameters…]`, as answers and tasks hold it.
    init?(_ items: [JSONValue]) {
        guard let code = items.first?.stringValue else { return nil }
        self.init(code: code, parameters: items.dropFirst().map(\.plainText))
    }

    /// Without references to sessions, which are as good as passwords.
    func redacted() -> XenFailure {
        if code == "SESSION_INVALID" { return XenFailure(code: code) }
        if code == "HANDLE_INVALID", parameters.first == "session" {
            return XenFailure(code: code, parameters: ["session"])
        }
        return self
    }
}

extension JSONValue {
    /// A text as it is, anything else as JSON.
    fileprivate var plainText: String { stringValue ?? compactText }
}

import BackupFormats

/// One call as the caller sent it. (Spec: xo-proxy §1.4.)
struct RPCRequest {
    /// A number or a text, given back as it came; nil where no answer is wanted.
    let id: JSONValue?
    let method: String
    /// Checked by the method's schema.
    let parameters: JSONValue

    /// - Throws: ``RPCFailure`` with the codes of JSON-RPC for what is no call.
    init(parsing body: [UInt8]) throws {
        let document: JSONValue
        do { document = try JSONValue(parsing: body) } catch { throw RPCFailure.invalidJSON }
        if case .array = document { throw RPCFailure.invalidRequest("batch requests are not supported") }
        guard case .object(let members) = document else { throw RPCFailure.invalidRequest("the request is no object") }
        if let version = members["jsonrpc"], version != "2.0" {
            throw RPCFailure.invalidRequest("only version 2.0 of JSON-RPC is spoken")
        }
        switch members["id"] {
        case nil, .number, .string: id = members["id"]
        default: throw RPCFailure.invalidRequest("the id is neither a number nor a string")
        }
        guard let method = members["method"]?.stringValue else {
            throw RPCFailure.invalidRequest("the method is no string")
        }
        self.method = method
        switch members["params"] {
        case nil: parameters = [:]
        case .object?, .array?: parameters = members["params"] ?? [:]
        default: throw RPCFailure.invalidRequest("params is neither an object nor an array")
        }
    }
}

/// Answers as bytes.
enum RPCAnswer {
    /// The first line of a list or a log. (Spec: xo-proxy §1.5.)
    static func listHeader(id: JSONValue) -> [UInt8] {
        result(["$responseType": "ndjson"], id: id) + [UInt8(ascii: "\n")]
    }

    /// A result is never absent or null: callers look into it unasked.
    static func result(_ value: JSONValue, id: JSONValue) -> [UInt8] {
        bytes(["id": id, "jsonrpc": "2.0", "result": value.isNull ? true : value])
    }

    static func error(_ failure: RPCFailure, id: JSONValue) -> [UInt8] {
        var error: JSONObject = ["code": .integer(failure.code), "message": .string(failure.message)]
        error["data"] = failure.data
        return bytes(["id": id, "jsonrpc": "2.0", "error": .object(error)])
    }

    /// One line of a list, with its end.
    static func line(_ value: JSONValue) -> [UInt8] { bytes(value) + [UInt8(ascii: "\n")] }

    private static func bytes(_ value: JSONValue) -> [UInt8] { Array(value.compactText.utf8) }
}

package import BackupFormats

/// Where the parameters of a call come from. (Spec: protocol A.6; rest F.1.)
package enum ParameterSource: Sendable {
    /// Query and form body, decoded, in order.
    case text([(name: String, value: String)])
    case json(JSONObject)

    /// Reads the parameters of a call: a JSON object where the content type says so, and the query is ignored then;
    /// else the query and, where there is a body, a form.
    ///
    /// - Parameter anyTypeIfEmpty: Whether an empty body may have any content type (the REST API allows it, sessions do not).
    /// - Throws: ``ParameterFailure`` for another content type, broken JSON, or JSON that is no object.
    package init(
        query: String, contentType: String?, body: [UInt8], anyTypeIfEmpty: Bool = false
    ) throws(ParameterFailure) {
        switch MediaType(contentType) {
        case .json:
            self = .json(try Self.object(body))
        case .form:
            self = .text(FormText.pairs(query.utf8) + FormText.pairs(body))
        case .other(let name):
            guard anyTypeIfEmpty, body.isEmpty else {
                throw ParameterFailure(unreadable: "unsupported content type '\(name)'")
            }
            self = .text(FormText.pairs(query.utf8))
        }
    }

    /// The parameters of a call whose body is data: the query only.
    package init(query: String) {
        self = .text(FormText.pairs(query.utf8))
    }

    private static func object(_ body: [UInt8]) throws(ParameterFailure) -> JSONObject {
        if body.isEmpty { return JSONObject() }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: body)
        } catch {
            throw ParameterFailure(unreadable: "the JSON body cannot be read: \(error)")
        }
        switch value {
        case .object(let object): return object
        case .array: throw ParameterFailure(unreadable: "Expected object - got array.")
        default: throw ParameterFailure(unreadable: "Expected object - got scalar value.")
        }
    }

    private enum MediaType {
        case json, form
        case other(String)

        init(_ contentType: String?) {
            let name = (contentType ?? "").prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }
            switch name.lowercased() {
            case "application/json": self = .json
            case "", "application/x-www-form-urlencoded": self = .form
            default: self = .other(String(name.prefix(128)))
            }
        }
    }
}

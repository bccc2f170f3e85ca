import BackupFormats
import Tasks

/// What a method has become.
enum Outcome: Sendable {
    /// One value.
    case value(JSONValue)
    /// Values one after the other; nil ends them.
    case list(@Sendable () async throws -> JSONValue?)
    /// The events of a tree of tasks.
    case log(TaskStream, isModern: Bool)

    static let done = Outcome.value(true)

    static func list(_ items: [JSONValue]) -> Outcome {
        let iterator = ListCursor(items)
        return .list { iterator.next() }
    }
}

/// One method of the proxy. (Spec: xo-proxy §2.)
struct Method: Sendable {
    let name: String
    let description: String
    let parameters: ParameterList
    /// The result as JSON Schema.
    let result: JSONObject
    /// Whether it waits for something to happen: the answer's head goes out at once, and the work ends with the caller.
    var isWait = false
    let call: @Sendable (JSONObject, ProxyServices) async throws -> Outcome
}

/// The schemas of results.
enum ResultForm {
    static let text: JSONObject = ["type": "string"]
    static let done: JSONObject = ["type": "boolean"]
    static let object: JSONObject = ["type": "object"]
    static let log: JSONObject = ["type": "array", "items": ["type": "object"], "description": "events of a log"]
    static func list(of type: JSONValue) -> JSONObject { ["type": "array", "items": ["type": type]] }
}

import BackupFormats
import Tasks

/// In which words log streams are told. Callers from before and after April 2026 read different ones; they overlook
/// members that they do not know. (Spec: xo-proxy §1.9.)
package enum LogFormat: String, CaseIterable, Sendable {
    /// The members of both in each event.
    case both
    /// Those of today's callers only.
    case tasks
    /// Those of older callers only.
    case legacy

    /// The event as JSON; nil where this reader has no word for it.
    ///
    /// - Parameter isModern: Whether the caller is known to be one of today.
    func json(_ event: TaskEvent, isModern: Bool) -> JSONValue? {
        switch event.kind {
        case .property, .abortionRequested:
            guard self == .tasks || self == .both && isModern else { return nil }
        default: break
        }
        var json: JSONObject = ["timestamp": .integer(event.time)]
        let id = JSONValue.string(event.taskID)
        if self != .legacy { json["id"] = id }
        switch event.kind {
        case .start(let parent, let name, let properties):
            json = kind("start", of: json, id)
            json["parentId"] = parent.map { .string($0) }
            if self != .legacy { json["properties"] = .object(TaskEvent.properties(name, properties)) }
            if self != .tasks {
                json["message"] = .string(name)
                json["data"] = TaskEvent.data(name, properties)
            }
        case .info(let message, let data), .warning(let message, let data):
            let isWarning = if case .warning = event.kind { true } else { false }
            json = kind(isWarning ? "warning" : "info", of: json, id)
            json["message"] = .string(message)
            json["data"] = data
        case .end(let isSuccess, let result):
            json = kind("end", of: json, id)
            json["status"] = isSuccess ? "success" : "failure"
            json["result"] = result
        case .property(let name, let value):
            json["type"] = "property"
            json["name"] = .string(name)
            json["value"] = value
        case .abortionRequested(let reason):
            json["type"] = "abortionRequested"
            json["reason"] = .string(reason)
        }
        return .object(json)
    }

    private func kind(_ name: JSONValue, of json: JSONObject, _ id: JSONValue) -> JSONObject {
        var json = json
        if self != .legacy { json["type"] = name }
        if self != .tasks {
            json["event"] = name
            json["taskId"] = id
        }
        return json
    }
}

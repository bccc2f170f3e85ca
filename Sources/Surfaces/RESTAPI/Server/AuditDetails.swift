import AccessControl
import BackupFormats
import BackupProtocol
import ManagementAPI

/// What the audit log tells about a call beside who, when, from where and the path.
enum AuditDetails {
    private static let hidden = JSONValue.string("(hidden)")

    /// The parameters that are not in the path, secrets taken out; of opaque bodies the size.
    static func of(_ call: Call) -> JSONObject {
        var details: JSONObject = [:]
        for name in call.values.names where !call.endpoint.path.contains("{\(name)}") {
            guard let value = call.values[name] else { continue }
            details[name] = isSecret(name) ? hidden : ParameterValues.json(value)
        }
        if case .raw = call.endpoint.body { details["bytes"] = .integer(call.request.body.count) }
        return details
    }

    /// Repos and plans of peers hold passwords, environment and hooks.
    private static func isSecret(_ name: String) -> Bool {
        name.contains("password") || name.contains("secret") || ["key", "token", "repos", "plans"].contains(name)
    }
}

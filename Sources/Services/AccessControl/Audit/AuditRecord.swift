package import BackupFormats

/// One change that somebody made: who, when, from where, what.
package struct AuditRecord: Sendable, Hashable {
    /// Unix seconds.
    package var time: Int64
    package var user: String
    /// Where the request came from.
    package var address: String
    /// The method: `PUT`.
    package var action: String
    /// What it acted on: `/access/users/ann@pbs`.
    package var object: String
    /// The parameters, without secrets.
    package var details: JSONObject

    package init(
        time: Int64, user: String, address: String, action: String, object: String, details: JSONObject
    ) {
        self.time = time
        self.user = user
        self.address = address
        self.action = action
        self.object = object
        self.details = details
    }

    /// As in the file and in answers.
    package var json: JSONValue {
        [
            "time": .integer(time), "user": .string(user), "address": .string(address), "action": .string(action),
            "object": .string(object), "parameters": .object(details),
        ]
    }

    init?(_ json: JSONValue) {
        guard let time = json["time"]?.intValue, let user = json["user"]?.stringValue,
            let address = json["address"]?.stringValue, let action = json["action"]?.stringValue,
            let object = json["object"]?.stringValue
        else { return nil }
        self.init(
            time: time, user: user, address: address, action: action, object: object,
            details: json["parameters"]?.objectValue ?? [:])
    }
}

/// Which records are wanted.
package struct AuditFilter: Sendable {
    /// The newest ones that are left out.
    package var start = 0
    package var limit = 50
    /// Part of the user's name.
    package var user: String?
    /// Part of the object.
    package var object: String?
    /// Bounds of the time, both included.
    package var since: Int64?
    package var until: Int64?

    package init() {}

    func accepts(_ record: AuditRecord) -> Bool {
        if let user, !record.user.contains(user) { return false }
        if let object, !record.object.contains(object) { return false }
        if let since, record.time < since { return false }
        if let until, record.time > until { return false }
        return true
    }
}

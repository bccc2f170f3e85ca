import BackupFormats

/// How records stand in exported states and below the digests of sections. Members without a value are left out.

private func object(_ members: [(String, JSONValue?)]) -> JSONValue {
    .object(
        JSONObject(
            members.compactMap { name, value in value.map { JSONObject.Member(name: name, value: $0) } }))
}

extension UserRecord {
    func json(withSecrets: Bool) -> JSONValue {
        object([
            ("id", .string(id.description)), ("comment", comment.map(JSONValue.string)), ("enable", .bool(isEnabled)),
            ("expire", .integer(expire)), ("firstname", firstName.map(JSONValue.string)),
            ("lastname", lastName.map(JSONValue.string)), ("email", email.map(JSONValue.string)),
            ("password-hash", withSecrets ? passwordHash.map(JSONValue.string) : nil),
        ])
    }

    init?(json: JSONValue) {
        guard let id = json["id"]?.stringValue.flatMap({ AuthID(parsing: $0) }), !id.isToken,
            let isEnabled = json["enable"]?.boolValue, let expire = json["expire"]?.intValue
        else { return nil }
        self.init(
            id: id, comment: json["comment"]?.stringValue, isEnabled: isEnabled, expire: expire,
            firstName: json["firstname"]?.stringValue, lastName: json["lastname"]?.stringValue,
            email: json["email"]?.stringValue, passwordHash: json["password-hash"]?.stringValue)
    }
}

extension TokenRecord {
    func json(withSecrets: Bool) -> JSONValue {
        object([
            ("id", .string(id.description)), ("comment", comment.map(JSONValue.string)), ("enable", .bool(isEnabled)),
            ("expire", .integer(expire)), ("secret-hash", withSecrets ? .string(secretHash) : nil),
        ])
    }

    init?(json: JSONValue) {
        guard let id = json["id"]?.stringValue.flatMap({ AuthID(parsing: $0) }), id.isToken,
            let isEnabled = json["enable"]?.boolValue, let expire = json["expire"]?.intValue,
            let secretHash = json["secret-hash"]?.stringValue
        else { return nil }
        self.init(
            id: id, comment: json["comment"]?.stringValue, isEnabled: isEnabled, expire: expire, secretHash: secretHash)
    }
}

extension ACLRecord {
    var json: JSONValue {
        [
            "path": .string(path), "subject": .string(subject.description), "role": .string(role),
            "propagate": .bool(propagates),
        ]
    }

    init?(json: JSONValue) {
        guard let path = json["path"]?.stringValue,
            let subject = json["subject"]?.stringValue.flatMap({ AuthID(parsing: $0) }),
            let role = json["role"]?.stringValue, let propagates = json["propagate"]?.boolValue
        else { return nil }
        self.init(path: path, subject: subject, role: role, propagates: propagates)
    }
}

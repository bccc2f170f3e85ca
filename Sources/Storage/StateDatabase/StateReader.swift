import BackupFormats
import Crypto
import GRDB

/// One consistent view of the state, valid inside the closure that got it.
package class StateReader {
    let database: Database

    init(_ database: Database) { self.database = database }

    /// All users in order of creation; `root@pam` only where something was stored about it.
    package func users() throws -> [UserRecord] {
        try Row.fetchAll(database, sql: "SELECT * FROM users ORDER BY number").compactMap { row in
            guard let id = AuthID(parsing: row["id"] as String) else { return nil }
            return UserRecord(
                id: id, comment: row["comment"], isEnabled: row["enabled"], expire: row["expire"],
                firstName: row["first_name"], lastName: row["last_name"], email: row["email"],
                passwordHash: row["password_hash"])
        }
    }

    /// All tokens in order of creation.
    package func tokens() throws -> [TokenRecord] {
        try Row.fetchAll(database, sql: "SELECT * FROM tokens ORDER BY number").compactMap { row in
            guard let id = AuthID(parsing: row["id"] as String) else { return nil }
            return TokenRecord(
                id: id, comment: row["comment"], isEnabled: row["enabled"], expire: row["expire"],
                secretHash: row["secret_hash"])
        }
    }

    /// All access entries by path, subject and role.
    package func acl() throws -> [ACLRecord] {
        try Row.fetchAll(database, sql: "SELECT * FROM acl ORDER BY path, subject, role").compactMap { row in
            guard let subject = AuthID(parsing: row["subject"] as String) else { return nil }
            return ACLRecord(path: row["path"], subject: subject, role: row["role"], propagates: row["propagates"])
        }
    }

    /// The entries of a section in order of creation.
    package func entries(_ section: ConfigSection) throws -> [ConfigEntry] {
        try Row.fetchAll(
            database, sql: "SELECT id, properties FROM config WHERE section = ? ORDER BY number",
            arguments: [section.name]
        ).map { try Self.entry($0, section) }
    }

    package func entry(_ section: ConfigSection, _ id: String) throws -> ConfigEntry? {
        try Row.fetchOne(
            database, sql: "SELECT id, properties FROM config WHERE section = ? AND id = ?",
            arguments: [section.name, id]
        ).map { try Self.entry($0, section) }
    }

    private static func entry(_ row: Row, _ section: ConfigSection) throws -> ConfigEntry {
        let id: String = row["id"]
        guard case .object(let properties)? = try? JSONValue(parsing: row["properties"] as String) else {
            throw BackupFailure(
                .corruptData, "Entry \(id) of section \(section.name) of the state database is no JSON object")
        }
        return ConfigEntry(id: id, properties: properties)
    }

    package func datastores() throws -> [DatastoreRecord] {
        try entries(.datastore).map(DatastoreRecord.init)
    }

    package func datastore(_ name: String) throws -> DatastoreRecord? {
        try entry(.datastore, name).map(DatastoreRecord.init)
    }

    /// The digest of a section for optimistic locking: SHA-256 over one line of canonical JSON for each row, as 64
    /// hexadecimal digits. Secrets are not part of it. (Spec: rest F.6.)
    package func digest(of section: ConfigSection) throws -> String {
        var hasher = SHA256()
        for line in try canonicalLines(of: section) {
            hasher.update(data: Array(line.compactText.utf8))
            hasher.update(data: [UInt8(ascii: "\n")])
        }
        return Hex.encode(hasher.finalize())
    }

    private func canonicalLines(of section: ConfigSection) throws -> [JSONValue] {
        switch section {
        case .users: try users().map { $0.json(withSecrets: false) } + tokens().map { $0.json(withSecrets: false) }
        case .acl: try acl().map(\.json)
        default: try entries(section).map { ["id": .string($0.id), "properties": .object($0.properties.sorted())] }
        }
    }
}

extension DatastoreRecord {
    init(_ entry: ConfigEntry) {
        var properties = entry.properties
        let path = properties["path"]?.stringValue ?? ""
        properties["path"] = nil
        self.init(name: entry.id, path: path, properties: properties)
    }

    var entry: ConfigEntry {
        var all: JSONObject = ["path": .string(path)]
        for member in properties.members { all[member.name] = member.value }
        return ConfigEntry(id: name, properties: all)
    }
}

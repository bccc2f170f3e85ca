import BackupFormats
import GRDB

extension StateDatabase {
    /// The value of the member `format` of an exported state.
    static let exportFormat = "cairn-state"
    static let exportVersion: Int64 = 1
    /// Longest exported state that is read.
    package static let exportLimit = 256 << 20
    /// Files of the state folder that belong to an exported state: ticket keys, the CSRF secret, the key that
    /// peers know.
    package static let secretFiles = ["authkey.key", "authkey.pub", "csrf.key", "peer.key"]

    /// Everything but the list of tasks as one JSON document. It holds hashes of passwords and the server's secret
    /// keys: whoever stores it gives it mode 0600. (Decision 10.)
    package func export() throws -> [UInt8] {
        let secrets = try Self.secretFiles.compactMap { name in
            try folder.read(name, limit: StateFolder.smallFileLimit).map {
                JSONObject.Member(name: name, value: .string(String(decoding: $0, as: UTF8.self)))
            }
        }
        let document: JSONValue = try read { state in
            [
                "format": .string(Self.exportFormat),
                "version": .integer(Self.exportVersion),
                "users": .array(try state.users().map { $0.json(withSecrets: true) }),
                "tokens": .array(try state.tokens().map { $0.json(withSecrets: true) }),
                "acl": .array(try state.acl().map(\.json)),
                "config": .array(try state.allEntries()),
                "secrets": .object(JSONObject(secrets)),
            ]
        }
        return Array(document.prettyText.utf8) + [UInt8(ascii: "\n")]
    }

    /// Replaces users, tokens, access entries, configuration and secret files by an exported state; the list of tasks
    /// stays. A server must be started again to see it.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the document is not an exported state, and of kind
    ///   `unsupported` where a newer version has written it; nothing has changed then.
    package func replaceState(with bytes: [UInt8]) throws {
        let document = try Self.parseExport(bytes)
        func list<Value>(_ name: String, _ read: (JSONValue) -> Value?) throws -> [Value] {
            guard case .array(let items)? = document[name] else { throw Self.notAnExport("it has no list '\(name)'") }
            return try items.enumerated().map { index, item in
                guard let value = read(item) else { throw Self.notAnExport("item \(index) of '\(name)' is malformed") }
                return value
            }
        }
        let users = try list("users", UserRecord.init(json:))
        let tokens = try list("tokens", TokenRecord.init(json:))
        let acl = try list("acl", ACLRecord.init(json:))
        let config = try list("config") { item -> (ConfigSection, ConfigEntry)? in
            guard let section = item["section"]?.stringValue, let id = item["id"]?.stringValue,
                case .object(let properties)? = item["properties"]
            else { return nil }
            return (ConfigSection(name: section), ConfigEntry(id: id, properties: properties))
        }
        try write { state in
            try state.removeAllConfiguration()
            for user in users { try state.put(user) }
            for token in tokens { try state.put(token) }
            for entry in acl { try state.put(entry) }
            for (section, entry) in config { try state.put(entry, in: section) }
            for name in Self.secretFiles {
                if let text = document["secrets"]?[name]?.stringValue {
                    try folder.replace(name, with: Array(text.utf8))
                }
            }
        }
    }

    private static func parseExport(_ bytes: [UInt8]) throws -> JSONValue {
        guard bytes.count <= exportLimit, let document = try? JSONValue(parsing: bytes),
            document["format"]?.stringValue == exportFormat, let version = document["version"]?.intValue
        else { throw notAnExport("its head is missing") }
        guard version == exportVersion else {
            throw BackupFailure(
                .unsupported, "The exported state has version \(version); this program reads \(exportVersion)")
        }
        return document
    }

    private static func notAnExport(_ why: String) -> BackupFailure {
        BackupFailure(.invalidInput, "The file is not an exported state: \(why)")
    }
}

extension StateReader {
    fileprivate func allEntries() throws -> [JSONValue] {
        let names = try String.fetchAll(database, sql: "SELECT DISTINCT section FROM config ORDER BY section")
        return try names.flatMap { name in
            try entries(ConfigSection(name: name)).map {
                ["section": .string(name), "id": .string($0.id), "properties": .object($0.properties)] as JSONValue
            }
        }
    }
}

extension StateWriter {
    fileprivate func removeAllConfiguration() throws {
        for table in ["users", "tokens", "acl", "config"] { try database.execute(sql: "DELETE FROM \(table)") }
    }
}

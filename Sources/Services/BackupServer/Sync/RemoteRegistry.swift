package import BackupFormats
package import StateDatabase

/// The configured remotes. All calls block. (Spec: rest E.5, remotes.)
///
/// Passwords stand in a section of their own, so that the digest of the configuration, which callers see, says nothing
/// about them.
package struct RemoteRegistry: Sendable {
    static let secrets = ConfigSection(name: "remote-secret")

    private let database: StateDatabase

    package init(database: StateDatabase) { self.database = database }

    /// A remote as callers of the API may see it.
    package struct Listing: Sendable {
        package var entries: [ConfigEntry]
        package var digest: String
    }

    /// All remotes in order of creation, without passwords.
    package func list() throws -> Listing {
        try database.read { Listing(entries: try $0.entries(.remote), digest: try $0.digest(of: .remote)) }
    }

    /// - Throws: ``BackupFailure`` of kind `notFound`.
    package func entry(_ name: String) throws -> ConfigEntry {
        guard let entry = try database.read({ try $0.entry(.remote, name) }) else { throw Self.missing(name) }
        return entry
    }

    /// A remote with its password.
    ///
    /// - Throws: ``BackupFailure`` of kind `notFound`, `corruptData` where what is stored cannot be used.
    package func remote(_ name: String) throws -> Remote {
        let (entry, secret) = try database.read { state in
            (try state.entry(.remote, name), try state.entry(Self.secrets, name))
        }
        guard let properties = entry?.properties else { throw Self.missing(name) }
        guard let host = properties["host"]?.stringValue,
            let authID = properties["auth-id"]?.stringValue.flatMap({ AuthID(parsing: $0) }),
            let password = secret?.properties["password"]?.stringValue
        else { throw BackupFailure(.corruptData, "The configuration of remote '\(name)' is not complete") }
        return Remote(
            name: name, host: host, port: properties["port"]?.intValue.map { Int($0) } ?? Remote.defaultPort,
            authID: authID, password: password, fingerprint: properties["fingerprint"]?.stringValue)
    }

    /// - Parameter properties: host, port, auth-id, fingerprint and comment, as far as given.
    /// - Throws: ``BackupFailure`` of kind `conflict` where the name is taken.
    package func add(_ name: String, _ properties: JSONObject, password: String) throws {
        try database.write { state in
            guard try state.entry(.remote, name) == nil else {
                throw BackupFailure(.conflict, "remote '\(name)' already exists.")
            }
            try state.put(ConfigEntry(id: name, properties: properties), in: .remote)
            try state.put(ConfigEntry(id: name, properties: ["password": .string(password)]), in: Self.secrets)
        }
    }

    /// - Parameters:
    ///   - settings: New values by name.
    ///   - removed: Names of settings that go.
    ///   - password: A new one; nil leaves the old.
    ///   - digest: The digest that the caller saw, if it cares.
    package func update(
        _ name: String, _ settings: JSONObject, removed: [String], password: String?, digest: String?
    ) throws {
        try database.write { state in
            try state.requireDigest(digest, of: .remote)
            guard var entry = try state.entry(.remote, name) else { throw Self.missing(name) }
            for key in removed { entry.properties[key] = nil }
            for member in settings.members { entry.properties[member.name] = member.value }
            try state.put(entry, in: .remote)
            if let password {
                try state.put(ConfigEntry(id: name, properties: ["password": .string(password)]), in: Self.secrets)
            }
        }
    }

    /// - Throws: ``BackupFailure`` of kind `notFound`; `conflict` while a sync job names the remote.
    package func remove(_ name: String, digest: String?) throws {
        try database.write { state in
            try state.requireDigest(digest, of: .remote)
            guard try state.entry(.remote, name) != nil else { throw Self.missing(name) }
            if let job = try state.entries(.syncJob).first(where: { $0.properties["remote"]?.stringValue == name }) {
                throw BackupFailure(.conflict, "remote '\(name)' is used by sync job '\(job.id)'")
            }
            _ = try state.remove(name, from: .remote)
            _ = try state.remove(name, from: Self.secrets)
        }
    }

    private static func missing(_ name: String) -> BackupFailure {
        BackupFailure(.notFound, "no such remote '\(name)'")
    }
}

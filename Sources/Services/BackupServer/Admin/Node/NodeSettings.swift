package import AccessControl
package import BackupFormats
package import StateDatabase

/// The settings of the node: names and values as the API has them. (Spec: rest E.8.)
package struct NodeSettings: Sendable {
    /// Days for which logs of finished tasks are kept.
    package static let taskLogDays = "task-log-max-days"
    private static let id = "node"

    private let database: StateDatabase

    package init(database: StateDatabase) {
        self.database = database
    }

    /// The settings and the digest that a change may name. Blocks.
    package func read() throws -> (settings: JSONObject, digest: String) {
        try database.read { reader in
            (try reader.entry(.node, Self.id)?.properties ?? [:], try reader.digest(of: .node))
        }
    }

    /// Sets and removes settings. Blocks.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the settings no longer have the digest.
    package func change(_ new: JSONObject, removed: [String], digest: String?, by _: Grant) throws {
        try database.write { writer in
            try writer.requireDigest(digest, of: .node)
            var entry = try writer.entry(.node, Self.id) ?? ConfigEntry(id: Self.id)
            for name in removed { entry.properties[name] = nil }
            for member in new.members { entry.properties[member.name] = member.value }
            try writer.put(entry, in: .node)
        }
    }
}

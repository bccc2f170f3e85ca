package import BackupFormats
import GRDB

/// One transaction; also reads, and sees what it has written.
package final class StateWriter: StateReader {
    /// Refuses to go on where the section has changed since the caller read it. (Spec: rest F.6.)
    ///
    /// - Parameter digest: What the caller saw; nil where it does not care.
    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    package func requireDigest(_ digest: String?, of section: ConfigSection) throws {
        guard let digest else { return }
        guard try digest == self.digest(of: section) else {
            throw BackupFailure(
                .invalidInput,
                "The configuration was modified meanwhile (its digest is another one); read it again and retry")
        }
    }

    /// Adds the user, or replaces all of it.
    package func put(_ user: UserRecord) throws {
        try database.execute(
            sql: """
                INSERT INTO users (id, comment, enabled, expire, first_name, last_name, email, password_hash)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET comment = excluded.comment, enabled = excluded.enabled,
                    expire = excluded.expire, first_name = excluded.first_name, last_name = excluded.last_name,
                    email = excluded.email, password_hash = excluded.password_hash
                """,
            arguments: [
                user.id.description, user.comment, user.isEnabled, user.expire, user.firstName, user.lastName,
                user.email,
                user.passwordHash,
            ])
    }

    /// Adds the token, or replaces all of it.
    package func put(_ token: TokenRecord) throws {
        try database.execute(
            sql: """
                INSERT INTO tokens (id, comment, enabled, expire, secret_hash) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET comment = excluded.comment, enabled = excluded.enabled,
                    expire = excluded.expire, secret_hash = excluded.secret_hash
                """,
            arguments: [token.id.description, token.comment, token.isEnabled, token.expire, token.secretHash])
    }

    /// Adds the entry; one of the same path, subject and role is replaced.
    package func put(_ entry: ACLRecord) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO acl (path, subject, role, propagates) VALUES (?, ?, ?, ?)",
            arguments: [entry.path, entry.subject.description, entry.role, entry.propagates])
    }

    /// Adds the entry at the end of its section, or replaces its properties where it stands.
    package func put(_ entry: ConfigEntry, in section: ConfigSection) throws {
        try database.execute(
            sql: """
                INSERT INTO config (section, id, properties) VALUES (?, ?, ?)
                ON CONFLICT (section, id) DO UPDATE SET properties = excluded.properties
                """,
            arguments: [section.name, entry.id, JSONValue.object(entry.properties).compactText])
    }

    package func put(_ datastore: DatastoreRecord) throws {
        try put(datastore.entry, in: .datastore)
    }

    /// Removes the user itself, or the token itself; what refers to it stays.
    package func remove(_ id: AuthID) throws {
        let table = id.isToken ? "tokens" : "users"
        try database.execute(sql: "DELETE FROM \(table) WHERE id = ?", arguments: [id.description])
    }

    /// Removes that role of that subject on that path.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    package func removeACL(path: String, subject: AuthID, role: String) throws -> Bool {
        try database.execute(
            sql: "DELETE FROM acl WHERE path = ? AND subject = ? AND role = ?",
            arguments: [path, subject.description, role])
        return database.changesCount > 0
    }

    /// Removes everything that the subject was given anywhere.
    package func removeACL(of subject: AuthID) throws {
        try database.execute(sql: "DELETE FROM acl WHERE subject = ?", arguments: [subject.description])
    }

    /// - Returns: Whether there was such an entry.
    @discardableResult
    package func remove(_ id: String, from section: ConfigSection) throws -> Bool {
        try database.execute(sql: "DELETE FROM config WHERE section = ? AND id = ?", arguments: [section.name, id])
        return database.changesCount > 0
    }

    /// - Returns: Whether there was such a datastore.
    @discardableResult
    package func removeDatastore(_ name: String) throws -> Bool {
        try remove(name, from: .datastore)
    }
}

import Foundation
import GRDB

/// A pairing token as it is kept: without its secret.
package struct PeerTokenRecord: Hashable, Sendable {
    package let id: String
    /// SHA-256 of the secret.
    package let hash: [UInt8]
    package let label: String
    /// JSON.
    package let grants: String
    /// Unix seconds; `expires` is 0 where it is good for ever.
    package let created: Int64
    package let expires: Int64
    /// 0: any number of times.
    package let maxUses: Int
    package let uses: Int

    package init(
        id: String, hash: [UInt8], label: String, grants: String, created: Int64, expires: Int64, maxUses: Int,
        uses: Int = 0
    ) {
        self.id = id
        self.hash = hash
        self.label = label
        self.grants = grants
        self.created = created
        self.expires = expires
        self.maxUses = maxUses
        self.uses = uses
    }
}

/// Settings that were sent to a member, and what became of them.
package struct PeerPushRecord: Hashable, Sendable {
    package let id: Int64
    package let keyID: String
    /// Unix seconds.
    package let time: Int64
    package let outcome: String
    /// One in each line.
    package let subjects: String
    package let message: String
}

extension StateReader {
    /// In order of their making.
    package func peerTokens() throws -> [PeerTokenRecord] {
        try Row.fetchAll(database, sql: "SELECT * FROM peer_tokens ORDER BY number").map { row in
            PeerTokenRecord(
                id: row["id"], hash: [UInt8](row["hash"] as Data), label: row["label"], grants: row["grants"],
                created: row["created"], expires: row["expires"], maxUses: row["max_uses"], uses: row["uses"])
        }
    }

    /// What was last known of members, serialised, by their keys.
    package func peerViews() throws -> [(keyID: String, view: [UInt8])] {
        try Row.fetchAll(database, sql: "SELECT key_id, view FROM peer_views").map {
            ($0["key_id"], [UInt8]($0["view"] as Data))
        }
    }

    /// What was sent to a member, newest first.
    package func peerPushes(of keyID: String) throws -> [PeerPushRecord] {
        try Row.fetchAll(
            database, sql: "SELECT * FROM peer_pushes WHERE key_id = ? ORDER BY number DESC", arguments: [keyID]
        ).map { row in
            PeerPushRecord(
                id: row["number"], keyID: row["key_id"], time: row["time"], outcome: row["outcome"],
                subjects: row["subjects"], message: row["message"])
        }
    }

    /// When the newest operations of a kind began that have ended, Unix milliseconds, newest first.
    package func recentPeerStarts(
        kind: Int64, of keyID: String, instance: String, repoGUID: String, plan: String, limit: Int
    ) throws -> [Int64] {
        try Int64.fetchAll(
            database,
            sql: """
                SELECT o.start FROM peer_members m
                CROSS JOIN peer_series s ON s.member = m.number AND s.instance = ? AND s.repo_guid = ? AND s.plan = ?
                CROSS JOIN peer_operations o ON o.series = s.number AND o.kind = ? AND o.end > 0
                WHERE m.key_id = ? ORDER BY o.start DESC LIMIT ?
                """, arguments: [instance, repoGUID, plan, kind, keyID, limit])
    }
}

extension StateWriter {
    package func add(_ token: PeerTokenRecord) throws {
        try database.execute(
            sql: """
                INSERT INTO peer_tokens (id, hash, label, grants, created, expires, max_uses, uses)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                token.id, Data(token.hash), token.label, token.grants, token.created, token.expires, token.maxUses,
                token.uses,
            ])
    }

    /// Counts one use of a token.
    ///
    /// - Returns: Whether it was there and had a use left.
    package func usePeerToken(_ id: String) throws -> Bool {
        try database.execute(
            sql: "UPDATE peer_tokens SET uses = uses + 1 WHERE id = ? AND (max_uses = 0 OR uses < max_uses)",
            arguments: [id])
        return database.changesCount > 0
    }

    /// - Returns: Whether there was one.
    package func removePeerToken(_ id: String) throws -> Bool {
        try database.execute(sql: "DELETE FROM peer_tokens WHERE id = ?", arguments: [id])
        return database.changesCount > 0
    }

    /// Removes tokens that have ended before `time`, and used up ones that were made before it.
    package func removePeerTokens(endedBefore time: Int64) throws {
        try database.execute(
            sql: """
                DELETE FROM peer_tokens
                WHERE (expires > 0 AND expires < ?1) OR (max_uses > 0 AND uses >= max_uses AND created < ?1)
                """, arguments: [time])
    }

    package func putPeerView(_ view: [UInt8], of keyID: String) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO peer_views (key_id, view) VALUES (?, ?)", arguments: [keyID, Data(view)])
    }

    /// Adds a push and forgets all but the newest `limit` of the member.
    ///
    /// - Returns: Its id.
    package func addPeerPush(
        to keyID: String, time: Int64, outcome: String, subjects: String, message: String, limit: Int
    ) throws -> Int64 {
        try database.execute(
            sql: "INSERT INTO peer_pushes (key_id, time, outcome, subjects, message) VALUES (?, ?, ?, ?, ?)",
            arguments: [keyID, time, outcome, subjects, message])
        let id = database.lastInsertedRowID
        try database.execute(
            sql: """
                DELETE FROM peer_pushes WHERE key_id = ?1 AND number NOT IN
                    (SELECT number FROM peer_pushes WHERE key_id = ?1 ORDER BY number DESC LIMIT ?2)
                """, arguments: [keyID, limit])
        return id
    }

    package func setPeerPush(_ id: Int64, outcome: String, message: String) throws {
        try database.execute(
            sql: "UPDATE peer_pushes SET outcome = ?, message = ? WHERE number = ?", arguments: [outcome, message, id])
    }

    /// Gives all pushes that stand at `outcome` another one.
    package func setPeerPushes(from outcome: String, to other: String, message: String) throws {
        try database.execute(
            sql: "UPDATE peer_pushes SET outcome = ?, message = ? WHERE outcome = ?",
            arguments: [other, message, outcome])
    }

    /// Forgets what was last known of a member, and what was sent to it.
    package func removePeerViewAndPushes(of keyID: String) throws {
        try database.execute(sql: "DELETE FROM peer_views WHERE key_id = ?", arguments: [keyID])
        try database.execute(sql: "DELETE FROM peer_pushes WHERE key_id = ?", arguments: [keyID])
    }
}

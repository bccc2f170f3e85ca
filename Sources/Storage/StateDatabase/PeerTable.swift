import Foundation
import GRDB

/// An operation of another instance, as a hub keeps it.
package struct PeerOperationRecord: Hashable, Sendable {
    /// Of the member that sent it.
    package var keyID: String
    /// As the member counts its operations.
    package var originalID: Int64
    package var originalFlow: Int64
    /// The member's change counter.
    package var counter: Int64
    /// Number of the part of the message that says what it is; 0 where that is unknown.
    package var kind: Int64
    package var status: Int64
    /// Unix milliseconds; `end` is 0 while it runs.
    package var start: Int64
    package var end: Int64
    package var instance: String
    package var repo: String
    package var repoGUID: String
    package var plan: String
    /// What the member says about it, for lists and searches.
    package var message: String
    /// The whole operation, serialised.
    package var payload: [UInt8]

    package init(
        keyID: String, originalID: Int64, originalFlow: Int64, counter: Int64, kind: Int64, status: Int64, start: Int64,
        end: Int64, instance: String, repo: String, repoGUID: String, plan: String, message: String, payload: [UInt8]
    ) {
        self.keyID = keyID
        self.originalID = originalID
        self.originalFlow = originalFlow
        self.counter = counter
        self.kind = kind
        self.status = status
        self.start = start
        self.end = end
        self.instance = instance
        self.repo = repo
        self.repoGUID = repoGUID
        self.plan = plan
        self.message = message
        self.payload = payload
    }
}

/// An operation of another instance with the numbers that it has here.
package struct StoredPeerOperation: Hashable, Sendable {
    package let id: Int64
    /// The same for all operations of one run: the id of the first of them that arrived.
    package let flow: Int64
    package let record: PeerOperationRecord
}

/// Which operations of other instances are wanted.
package struct PeerOperationFilter: Sendable {
    package var keyID: String?
    package var statuses: [Int64]?
    /// What they are about, as ``PeerOperationRecord/kind``.
    package var kinds: [Int64]?
    /// Started at this time or later, Unix milliseconds.
    package var since: Int64?
    /// Part of the plan's, repo's or instance's name, or of the message.
    package var text: String?
    package var limit: Int

    package init(
        keyID: String? = nil, statuses: [Int64]? = nil, kinds: [Int64]? = nil, since: Int64? = nil, text: String? = nil,
        limit: Int = 100
    ) {
        self.keyID = keyID
        self.statuses = statuses
        self.kinds = kinds
        self.since = since
        self.text = text
        self.limit = limit
    }
}

extension StateReader {
    /// Ids and change counters of all operations of a member, ascending by id.
    package func peerOperationCounters(of keyID: String) throws -> [(id: Int64, counter: Int64)] {
        var found: [(id: Int64, counter: Int64)] = []
        let rows = try Row.fetchCursor(
            database,
            sql: "SELECT original_id, counter FROM peer_operations WHERE key_id = ? ORDER BY original_id",
            arguments: [keyID])
        while let row = try rows.next() { found.append((row[0], row[1])) }
        return found
    }

    /// Newest first.
    package func peerOperations(_ filter: PeerOperationFilter) throws -> [StoredPeerOperation] {
        var conditions = ["1"]
        var arguments: StatementArguments = []
        if let keyID = filter.keyID {
            conditions.append("key_id = ?")
            arguments += [keyID]
        }
        if let statuses = filter.statuses {
            conditions.append("status IN (\(statuses.map(String.init).joined(separator: ",")))")
        }
        if let kinds = filter.kinds {
            conditions.append("kind IN (\(kinds.map(String.init).joined(separator: ",")))")
        }
        if let since = filter.since {
            conditions.append("start >= ?")
            arguments += [since]
        }
        if let text = filter.text {
            let fields = ["plan", "repo", "instance", "message"].map { "instr(lower(\($0)), lower(?)) > 0" }
            conditions.append("(\(fields.joined(separator: " OR ")))")
            arguments += [text, text, text, text]
        }
        arguments += [filter.limit]
        return try Row.fetchAll(
            database,
            sql: """
                SELECT * FROM peer_operations WHERE \(conditions.joined(separator: " AND "))
                ORDER BY start DESC, number DESC LIMIT ?
                """, arguments: arguments
        ).map(StoredPeerOperation.init)
    }

    /// The newest operation of a kind that has ended, of each member, instance, repo and plan.
    package func lastPeerOperations(kind: Int64) throws -> [StoredPeerOperation] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT *, max(start) FROM peer_operations WHERE kind = ? AND end > 0
                GROUP BY key_id, instance, repo_guid, plan ORDER BY key_id, instance, plan, repo
                """, arguments: [kind]
        ).map(StoredPeerOperation.init)
    }

    package func peerOperationCount(of keyID: String) throws -> Int {
        try Int.fetchOne(
            database, sql: "SELECT count(*) FROM peer_operations WHERE key_id = ?", arguments: [keyID]) ?? 0
    }
}

extension StateWriter {
    /// Adds operations, or replaces those of the same member and id; ids and flows here stay what they were.
    package func put(_ records: [PeerOperationRecord]) throws {
        let insert = try database.cachedStatement(
            sql: """
                INSERT INTO peer_operations
                    (key_id, original_id, original_flow, flow, counter, kind, status, start, end, instance, repo,
                     repo_guid, plan, message, payload)
                VALUES (?1, ?2, ?3,
                    coalesce((SELECT flow FROM peer_operations WHERE key_id = ?1 AND original_flow = ?3 LIMIT 1), 0),
                    ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                ON CONFLICT (key_id, original_id) DO UPDATE SET counter = excluded.counter, kind = excluded.kind,
                    status = excluded.status, start = excluded.start, end = excluded.end, instance = excluded.instance,
                    repo = excluded.repo, repo_guid = excluded.repo_guid, plan = excluded.plan,
                    message = excluded.message, payload = excluded.payload
                """)
        let number = try database.cachedStatement(
            sql: "UPDATE peer_operations SET flow = number WHERE key_id = ? AND original_id = ? AND flow = 0")
        for record in records {
            try insert.execute(arguments: [
                record.keyID, record.originalID, record.originalFlow, record.counter, record.kind, record.status,
                record.start, record.end, record.instance, record.repo, record.repoGUID, record.plan, record.message,
                Data(record.payload),
            ])
            try number.execute(arguments: [record.keyID, record.originalID])
        }
    }

    /// Removes operations of a member; ids that it does not have here are no error.
    package func removePeerOperations(_ originalIDs: [Int64], of keyID: String) throws {
        let delete = try database.cachedStatement(
            sql: "DELETE FROM peer_operations WHERE key_id = ? AND original_id = ?")
        for id in originalIDs { try delete.execute(arguments: [keyID, id]) }
    }

    /// Removes all that came from a member.
    package func removePeerOperations(of keyID: String) throws {
        try database.execute(sql: "DELETE FROM peer_operations WHERE key_id = ?", arguments: [keyID])
    }
}

extension StoredPeerOperation {
    fileprivate init(_ row: Row) {
        self.init(
            id: row["number"], flow: row["flow"],
            record: PeerOperationRecord(
                keyID: row["key_id"], originalID: row["original_id"], originalFlow: row["original_flow"],
                counter: row["counter"], kind: row["kind"], status: row["status"], start: row["start"], end: row["end"],
                instance: row["instance"], repo: row["repo"], repoGUID: row["repo_guid"], plan: row["plan"],
                message: row["message"], payload: [UInt8](row["payload"] as Data)))
    }
}

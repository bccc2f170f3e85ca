import Foundation
import GRDB

/// An operation of this instance, as the hubs that it reports to are told of it.
package struct OwnOperationRecord: Hashable, Sendable {
    package let id: Int64
    /// The change counter: another one after each change.
    package let counter: Int64
    /// The id of the first operation of the same run.
    package let flow: Int64
    package let content: OwnOperationContent
}

/// An operation without the numbers that the database gives it.
package struct OwnOperationContent: Hashable, Sendable {
    /// What it tells of: `task:UPID`, `snapshot:ID` and so on. One operation is kept for each.
    package var subject: String
    /// Of the snapshot that it made or tells of; empty where there is none. Operations of one snapshot share their flow.
    package var snapshot: String
    /// The operation whose flow it belongs to, by subject; empty for none.
    package var cause: String
    package var repo: String
    package var repoGUID: String
    package var plan: String
    /// Number of the part of the message that says what it is.
    package var kind: Int64
    /// Unix milliseconds.
    package var start: Int64
    /// Of an operation that tells of a snapshot: whether that is gone; nil for others.
    package var isForgotten: Bool?
    /// Whether more is to come.
    package var isRunning: Bool
    /// Stands for what the content was made from, so that it need not be made again.
    package var fingerprint: Int64
    /// The serialised operation without id, flow and change counter.
    package var payload: [UInt8]

    package init(
        subject: String, snapshot: String, cause: String = "", repo: String, repoGUID: String, plan: String,
        kind: Int64, start: Int64, isForgotten: Bool? = nil, isRunning: Bool = false, fingerprint: Int64 = 0,
        payload: [UInt8]
    ) {
        self.subject = subject
        self.snapshot = snapshot
        self.cause = cause
        self.repo = repo
        self.repoGUID = repoGUID
        self.plan = plan
        self.kind = kind
        self.start = start
        self.isForgotten = isForgotten
        self.isRunning = isRunning
        self.fingerprint = fingerprint
        self.payload = payload
    }
}

extension StateReader {
    private static let columns = """
        id, counter, flow, subject, snapshot, repo, repo_guid, plan, kind, start, forgotten, running, fingerprint
        """

    package func ownOperation(of subject: String) throws -> OwnOperationRecord? {
        try Row.fetchOne(
            database, sql: "SELECT * FROM own_operations WHERE subject = ?", arguments: [subject]
        ).map { OwnOperationRecord($0, payload: [UInt8]($0["payload"] as Data)) }
    }

    package func ownOperation(_ id: Int64) throws -> OwnOperationRecord? {
        let select = try database.cachedStatement(sql: "SELECT * FROM own_operations WHERE id = ?")
        return try Row.fetchOne(select, arguments: [id]).map {
            OwnOperationRecord($0, payload: [UInt8]($0["payload"] as Data))
        }
    }

    /// Gives all operations to `body`, without their payload, ascending by id.
    package func eachOwnOperation(_ body: (OwnOperationRecord) throws -> Void) throws {
        let rows = try Row.fetchCursor(database, sql: "SELECT \(Self.columns) FROM own_operations ORDER BY id")
        while let row = try rows.next() { try body(OwnOperationRecord(row, payload: [])) }
    }

    /// Without payload: of a repo's operations those of a kind.
    package func ownOperations(of repoGUID: String, kind: Int64) throws -> [OwnOperationRecord] {
        try Row.fetchAll(
            database, sql: "SELECT \(Self.columns) FROM own_operations WHERE repo_guid = ? AND kind = ?",
            arguments: [repoGUID, kind]
        ).map { OwnOperationRecord($0, payload: []) }
    }

    /// Subjects of operations that are not over.
    package func runningOwnOperations() throws -> [String] {
        try String.fetchAll(database, sql: "SELECT subject FROM own_operations WHERE running = 1 ORDER BY id")
    }

    /// The identity of a datastore that cannot keep its own; nil where none was given yet.
    package func storeIdentity(_ name: String) throws -> [UInt8]? {
        try Data.fetchOne(database, sql: "SELECT identity FROM own_stores WHERE name = ?", arguments: [name]).map {
            [UInt8]($0)
        }
    }
}

extension StateWriter {
    package enum OwnOperationChange: Sendable, Hashable {
        case created(Int64), updated(Int64), unchanged(Int64)
    }

    /// Adds the operation, or changes it where its content is another one. Ids and counters grow and are never given
    /// twice, also where a transaction that took some is lost.
    ///
    /// - Parameter now: Unix milliseconds. Numbers begin here: an instance whose database was lost gives none again.
    @discardableResult
    package func put(_ content: OwnOperationContent, now: Int64) throws -> OwnOperationChange {
        if let old = try ownOperation(of: content.subject) {
            guard old.content.payload != content.payload || old.content.isForgotten != content.isForgotten
            else {
                if old.content.fingerprint != content.fingerprint || old.content.isRunning != content.isRunning {
                    try database.execute(
                        sql: "UPDATE own_operations SET fingerprint = ?, running = ? WHERE id = ?",
                        arguments: [content.fingerprint, content.isRunning, old.id])
                }
                return .unchanged(old.id)
            }
            try database.execute(
                sql: """
                    UPDATE own_operations SET counter = ?, snapshot = ?, repo = ?, repo_guid = ?, plan = ?, kind = ?,
                        start = ?, forgotten = ?, running = ?, fingerprint = ?, payload = ? WHERE id = ?
                    """,
                arguments: [
                    try next("counter", now), content.snapshot, content.repo, content.repoGUID, content.plan,
                    content.kind, content.start, content.isForgotten, content.isRunning, content.fingerprint,
                    Data(content.payload), old.id,
                ])
            return .updated(old.id)
        }
        let id = try next("id", now)
        try database.execute(
            sql: """
                INSERT INTO own_operations (id, counter, flow, subject, snapshot, repo, repo_guid, plan, kind, start,
                    forgotten, running, fingerprint, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                id, try next("counter", now), try flow(for: content) ?? id, content.subject, content.snapshot,
                content.repo, content.repoGUID, content.plan, content.kind, content.start, content.isForgotten,
                content.isRunning, content.fingerprint, Data(content.payload),
            ])
        return .created(id)
    }

    private func flow(for content: OwnOperationContent) throws -> Int64? {
        if !content.cause.isEmpty, let cause = try ownOperation(of: content.cause) { return cause.flow }
        guard !content.snapshot.isEmpty else { return nil }
        return try Int64.fetchOne(
            database, sql: "SELECT flow FROM own_operations WHERE snapshot = ? ORDER BY id DESC LIMIT 1",
            arguments: [content.snapshot])
    }

    private func next(_ name: String, _ now: Int64) throws -> Int64 {
        try Int64.fetchOne(
            database,
            sql: """
                INSERT INTO own_counters (name, value) VALUES (?, ?)
                ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value
                """, arguments: [name, max(1, now)]) ?? 1
    }

    /// Lets an operation stand that tells of something that is gone for good, so that another one of the same subject
    /// and snapshot may be added.
    package func retireOwnOperation(_ id: Int64) throws {
        try database.execute(
            sql: "UPDATE own_operations SET subject = subject || '#' || id WHERE id = ?", arguments: [id])
        try database.execute(
            sql: """
                UPDATE own_operations SET snapshot = '' WHERE snapshot <> ''
                    AND flow = (SELECT flow FROM own_operations WHERE id = ?)
                """, arguments: [id])
    }

    package func removeOwnOperations(_ ids: [Int64]) throws {
        let delete = try database.cachedStatement(sql: "DELETE FROM own_operations WHERE id = ?")
        for id in ids { try delete.execute(arguments: [id]) }
    }

    package func putStoreIdentity(_ identity: [UInt8], of name: String) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO own_stores (name, identity) VALUES (?, ?)", arguments: [name, Data(identity)])
    }
}

extension OwnOperationRecord {
    fileprivate init(_ row: Row, payload: [UInt8]) {
        id = row["id"]
        counter = row["counter"]
        flow = row["flow"]
        content = OwnOperationContent(
            subject: row["subject"], snapshot: row["snapshot"], repo: row["repo"], repoGUID: row["repo_guid"],
            plan: row["plan"], kind: row["kind"], start: row["start"], isForgotten: row["forgotten"],
            isRunning: row["running"], fingerprint: row["fingerprint"], payload: payload)
    }
}

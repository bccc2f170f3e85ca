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
        guard let member = try peerMember(keyID) else { return [] }
        var found: [(id: Int64, counter: Int64)] = []
        found.reserveCapacity(Int(member.operations))
        let rows = try Row.fetchCursor(
            database,
            sql: "SELECT original_id, counter FROM peer_operation_ids WHERE member = ? ORDER BY original_id",
            arguments: [member.number])
        while let row = try rows.next() { found.append((row[0], row[1])) }
        return found
    }

    /// Operations that are listed at once hold no more than about this: one of them may have 16 MiB.
    private static let maxListBytes = 64 << 20

    /// Newest first; fewer than the limit where they are very large.
    package func peerOperations(_ filter: PeerOperationFilter) throws -> [StoredPeerOperation] {
        guard filter.keyID == nil, let statuses = filter.statuses else {
            return try peerOperations(filter, status: nil)
        }
        // One walk for each status, in the order of time, instead of one over all operations.
        let found = try Set(statuses).flatMap { try peerOperations(filter, status: $0) }
        let sorted = found.sorted { ($0.record.start, $0.id) > ($1.record.start, $1.id) }
        return Array(sorted.prefix(max(0, filter.limit)))
    }

    private func peerOperations(_ filter: PeerOperationFilter, status: Int64?) throws -> [StoredPeerOperation] {
        var conditions = ["m.key_id IS NOT NULL"]
        var arguments: StatementArguments = []
        if let keyID = filter.keyID {
            guard let member = try peerMember(keyID) else { return [] }
            conditions.append("o.member = ?")
            arguments += [member.number]
        }
        if let status {
            conditions.append("o.status = ?")
            arguments += [status]
        } else if let statuses = filter.statuses {
            conditions.append("+o.status IN (\(statuses.map(String.init).joined(separator: ",")))")
        }
        if let kinds = filter.kinds {
            conditions.append("o.kind IN (\(kinds.map(String.init).joined(separator: ",")))")
        }
        if let since = filter.since {
            conditions.append("o.start >= ?")
            arguments += [since]
        }
        if let text = filter.text {
            let fields = ["s.plan", "s.repo", "s.instance", "o.message"].map { "instr(lower(\($0)), lower(?)) > 0" }
            conditions.append("(\(fields.joined(separator: " OR ")))")
            arguments += [text, text, text, text]
        }
        arguments += [max(0, filter.limit)]
        let rows = try Row.fetchCursor(
            database,
            sql: """
                \(Self.selection) WHERE \(conditions.joined(separator: " AND "))
                ORDER BY o.start DESC, o.number DESC LIMIT ?
                """, arguments: arguments)
        var found: [StoredPeerOperation] = []
        var byteCount = 0
        while byteCount < Self.maxListBytes, let row = try rows.next() {
            let operation = StoredPeerOperation(row)
            byteCount += operation.record.payload.count
            found.append(operation)
        }
        return found
    }

    /// By its number here.
    package func peerOperation(_ id: Int64) throws -> StoredPeerOperation? {
        try Row.fetchOne(
            database, sql: "\(Self.selection) WHERE o.number = ? AND m.key_id IS NOT NULL", arguments: [id]
        ).map(StoredPeerOperation.init)
    }

    /// The newest operation of a kind that has ended, of each member, instance, repo and plan.
    package func lastPeerOperations(kind: Int64) throws -> [StoredPeerOperation] {
        let rows = try Row.fetchAll(
            database,
            sql: """
                SELECT o.*, m.key_id, s.instance, s.repo, s.repo_guid, s.plan
                FROM peer_series s CROSS JOIN peer_members m ON m.number = s.member
                CROSS JOIN peer_operations o ON o.number = (
                    SELECT number FROM peer_operations WHERE series = s.number AND kind = ? AND end > 0
                    ORDER BY start DESC, number DESC LIMIT 1)
                WHERE m.key_id IS NOT NULL
                ORDER BY m.key_id, s.instance, s.plan, s.repo_guid, o.start DESC, o.number DESC
                """, arguments: [kind])
        // A repo that was given another name is still the same one: its newest comes first.
        var found: [StoredPeerOperation] = []
        for operation in rows.map(StoredPeerOperation.init) {
            let (one, last) = (operation.record, found.last?.record)
            guard
                one.keyID != last?.keyID || one.instance != last?.instance || one.plan != last?.plan
                    || one.repoGUID != last?.repoGUID
            else { continue }
            found.append(operation)
        }
        return found
    }

    package func peerOperationCount(of keyID: String) throws -> Int { Int(try peerMember(keyID)?.operations ?? 0) }

    /// Different instances, repos and plans that the operations of a member have named.
    package func peerSeriesCount(of keyID: String) throws -> Int { Int(try peerMember(keyID)?.series ?? 0) }

    /// Of all members together.
    package func peerOperationCount() throws -> Int {
        try Int.fetchOne(database, sql: "SELECT coalesce(sum(operations), 0) FROM peer_members") ?? 0
    }

    /// Rows of one operation, of its member and of what it is about, in this order of reading.
    private static let selection = """
        SELECT o.*, m.key_id, s.instance, s.repo, s.repo_guid, s.plan
        FROM peer_operations o CROSS JOIN peer_members m ON m.number = o.member
        CROSS JOIN peer_series s ON s.number = o.series
        """

    struct PeerMemberRow {
        let number: Int64
        let operations: Int64
        let series: Int64
    }

    func peerMember(_ keyID: String) throws -> PeerMemberRow? {
        let find = try database.cachedStatement(
            sql: "SELECT number, operations, series FROM peer_members WHERE key_id = ?")
        return try Row.fetchOne(find, arguments: [keyID]).map {
            PeerMemberRow(number: $0[0], operations: $0[1], series: $0[2])
        }
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

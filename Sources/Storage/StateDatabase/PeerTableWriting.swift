import Foundation
import GRDB

/// What became of an operation of another instance that was put.
package struct PeerOperationPlace: Hashable, Sendable {
    /// Its number here.
    package let id: Int64
    /// Nil where it was not known yet.
    package let previousStatus: Int64?
}

extension StateWriter {
    /// Adds operations, or replaces those of the same member and id; ids and flows here stay what they were.
    ///
    /// - Returns: As many places, in the same order.
    @discardableResult
    package func put(_ records: [PeerOperationRecord]) throws -> [PeerOperationPlace] {
        var places: [PeerOperationPlace] = []
        var rest = records[...]
        while let keyID = rest.first?.keyID {
            let ofMember = rest.prefix { $0.keyID == keyID }
            rest = rest.dropFirst(ofMember.count)
            let member = try peerMember(keyID)?.number ?? addPeerMember(keyID)
            let before = places.count
            for record in ofMember { places.append(try put(record, of: member)) }
            let added = places[before...].count { $0.previousStatus == nil }
            if added > 0 { try addToPeerMember(member, operations: added) }
        }
        return places
    }

    private func put(_ record: PeerOperationRecord, of member: Int64) throws -> PeerOperationPlace {
        let find = try database.cachedStatement(
            sql: """
                SELECT o.number, o.status, o.start, o.end, o.kind, o.series
                FROM peer_operation_ids i CROSS JOIN peer_operations o ON o.number = i.operation
                WHERE i.member = ? AND i.original_id = ?
                """)
        let series = try peerSeries(record, of: member)
        guard let old = try Row.fetchOne(find, arguments: [member, record.originalID]) else {
            return PeerOperationPlace(id: try insert(record, of: member, series: series), previousStatus: nil)
        }
        let number: Int64 = old[0]
        // Columns that are in an index cost its pages too: only what differs is set.
        let indexed = [record.status, record.start, record.end, record.kind, series]
        let isMoved = indexed != (1...5).map { old[$0] as Int64 }
        if isMoved {
            try database.cachedStatement(
                sql: "UPDATE peer_operations SET status = ?, start = ?, end = ?, kind = ?, series = ? WHERE number = ?"
            ).execute(arguments: StatementArguments(indexed + [number]))
        }
        try database.cachedStatement(
            sql: "UPDATE peer_operations SET counter = ?, message = ?, payload = ? WHERE number = ?"
        ).execute(arguments: [record.counter, record.message, Data(record.payload), number])
        try database.cachedStatement(
            sql: "UPDATE peer_operation_ids SET counter = ? WHERE member = ? AND original_id = ?"
        ).execute(arguments: [record.counter, member, record.originalID])
        return PeerOperationPlace(id: number, previousStatus: old[1])
    }

    private func insert(_ record: PeerOperationRecord, of member: Int64, series: Int64) throws -> Int64 {
        let flow = try Int64.fetchOne(
            database.cachedStatement(
                sql: "SELECT flow FROM peer_operations WHERE member = ? AND original_flow = ? LIMIT 1"),
            arguments: [member, record.originalFlow])
        try database.cachedStatement(
            sql: """
                INSERT INTO peer_operations
                    (member, series, original_id, original_flow, flow, counter, kind, status, start, end, message,
                     payload)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            member, series, record.originalID, record.originalFlow, flow ?? 0, record.counter, record.kind,
            record.status, record.start, record.end, record.message, Data(record.payload),
        ])
        let number = database.lastInsertedRowID
        if flow == nil {
            try database.cachedStatement(sql: "UPDATE peer_operations SET flow = number WHERE number = ?")
                .execute(arguments: [number])
        }
        try database.cachedStatement(
            sql: "INSERT INTO peer_operation_ids (member, original_id, counter, operation) VALUES (?, ?, ?, ?)"
        ).execute(arguments: [member, record.originalID, record.counter, number])
        return number
    }

    private func peerSeries(_ record: PeerOperationRecord, of member: Int64) throws -> Int64 {
        let names: StatementArguments = [member, record.instance, record.repoGUID, record.plan, record.repo]
        let find = try database.cachedStatement(
            sql: """
                SELECT number FROM peer_series
                WHERE member = ? AND instance = ? AND repo_guid = ? AND plan = ? AND repo = ?
                """)
        if let number = try Int64.fetchOne(find, arguments: names) { return number }
        try database.cachedStatement(
            sql: "INSERT INTO peer_series (member, instance, repo_guid, plan, repo) VALUES (?, ?, ?, ?, ?)"
        ).execute(arguments: names)
        let number = database.lastInsertedRowID
        try database.execute(sql: "UPDATE peer_members SET series = series + 1 WHERE number = ?", arguments: [member])
        return number
    }

    private func addPeerMember(_ keyID: String) throws -> Int64 {
        try database.execute(sql: "INSERT INTO peer_members (key_id) VALUES (?)", arguments: [keyID])
        return database.lastInsertedRowID
    }

    private func addToPeerMember(_ member: Int64, operations: Int) throws {
        try database.cachedStatement(sql: "UPDATE peer_members SET operations = operations + ? WHERE number = ?")
            .execute(arguments: [operations, member])
    }

    /// Removes operations of a member; ids that it does not have here are no error.
    package func removePeerOperations(_ originalIDs: some Sequence<Int64>, of keyID: String) throws {
        guard let member = try peerMember(keyID)?.number else { return }
        var removed = 0
        for id in originalIDs where try removePeerOperation(id, of: member) { removed += 1 }
        if removed > 0 { try addToPeerMember(member, operations: -removed) }
    }

    private func removePeerOperation(_ originalID: Int64, of member: Int64) throws -> Bool {
        let find = try database.cachedStatement(
            sql: "SELECT operation FROM peer_operation_ids WHERE member = ? AND original_id = ?")
        guard let number = try Int64.fetchOne(find, arguments: [member, originalID]) else { return false }
        try database.cachedStatement(sql: "DELETE FROM peer_operations WHERE number = ?").execute(arguments: [number])
        try database.cachedStatement(sql: "DELETE FROM peer_operation_ids WHERE member = ? AND original_id = ?")
            .execute(arguments: [member, originalID])
        return true
    }

    /// Removes all that came from a member: nobody sees it any more, however much it is. The space is given back by
    /// ``sweepPeerOperations(limit:)``.
    package func removePeerOperations(of keyID: String) throws {
        try database.execute(sql: "UPDATE peer_members SET key_id = NULL WHERE key_id = ?", arguments: [keyID])
    }

    /// Deletes at most `limit` operations of members that were removed.
    ///
    /// - Returns: Whether there may be more.
    package func sweepPeerOperations(limit: Int) throws -> Bool {
        guard
            let member = try Int64.fetchOne(
                database, sql: "SELECT number FROM peer_members WHERE key_id IS NULL LIMIT 1")
        else { return false }
        let ids = try Int64.fetchAll(
            database, sql: "SELECT original_id FROM peer_operations WHERE member = ? LIMIT ?",
            arguments: [member, limit])
        for id in ids { _ = try removePeerOperation(id, of: member) }
        if ids.count < limit {
            try database.execute(sql: "DELETE FROM peer_series WHERE member = ?", arguments: [member])
            try database.execute(sql: "DELETE FROM peer_members WHERE number = ?", arguments: [member])
        }
        return true
    }

    /// Runs `body`; where it throws, what it has written is undone and the rest of the transaction goes on.
    package func attempt<Value>(_ body: () throws -> Value) throws -> Value {
        var value: Value?
        try database.inSavepoint {
            value = try body()
            return .commit
        }
        guard let value else { throw DatabaseError(message: "a savepoint without its result") }
        return value
    }
}

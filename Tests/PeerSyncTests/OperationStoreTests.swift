import BackupFormats
import CairnTestSupport
import Foundation
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

@Suite("The operations of members")
struct OperationStoreTests {
    /// A store in a folder of its own, for the length of `body`.
    func withStore(_ body: (OperationStore, StateDatabase) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "peers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let database = try StateDatabase(folder: StateFolder(path: folder.path))
        try body(OperationStore(database: database), database)
    }

    func count(_ database: StateDatabase, _ keyID: String) throws -> Int {
        try database.read { try $0.peerOperationCount(of: keyID) }
    }

    func created(_ operations: [WireOperation]) -> WireOperationEvent {
        var event = WireOperationEvent()
        event.createdOperations.operations = operations
        return event
    }

    func operation(_ id: Int64, flow: Int64, counter: Int64 = 1, plan: String = "p") -> WireOperation {
        ReceivedOperationTests.operation {
            $0.id = id
            $0.flowID = flow
            $0.modno = counter
            $0.planID = plan
            $0.operationBackup = .init()
        }
    }

    @Test("keep their numbers here while they change, and share a flow")
    func numbers() throws {
        try withStore { store, database in
            try store.apply(created([operation(1, flow: 1), operation(2, flow: 1), operation(3, flow: 3)]), of: "a")
            try store.apply(created([operation(1, flow: 1)]), of: "b")
            let before = try database.read { try $0.peerOperations(PeerOperationFilter(keyID: "a")) }
            try store.apply(created([operation(2, flow: 1, counter: 5, plan: "other")]), of: "a")
            let after = try database.read { try $0.peerOperations(PeerOperationFilter(keyID: "a")) }
            #expect(before.map(\.id) == after.map(\.id) && before.map(\.flow) == after.map(\.flow))
            let flows = Dictionary(uniqueKeysWithValues: after.map { ($0.record.originalID, $0.flow) })
            #expect(flows[1] == flows[2] && flows[1] != flows[3])
            let changed = try #require(after.first { $0.record.originalID == 2 })
            #expect(changed.record.counter == 5 && changed.record.plan == "other" && changed.record.kind == 100)
            let kept = try WireOperation(serializedBytes: changed.record.payload)
            #expect(kept.planID == "other" && kept.originalID == 2)
        }
    }

    @Test("follow the manifest: what it lacks goes, what is new or changed is asked for")
    func manifest() throws {
        try withStore { store, database in
            try store.apply(created((1...4).map { operation($0, flow: $0) }), of: "a")
            try store.apply(created([operation(9, flow: 9)]), of: "b")
            let wanted = try store.apply(ids: [1, 2, 5], counters: [1, 7, 1], of: "a")
            #expect(wanted == [2, 5])
            let left = try database.read { try $0.peerOperationCounters(of: "a") }
            #expect(left.map(\.id) == [1, 2])
            #expect(try count(database, "b") == 1)
        }
    }

    @Test("are deleted by ids of the member alone, also those that are not here")
    func deletion() throws {
        try withStore { store, database in
            try store.apply(created([operation(1, flow: 1)]), of: "a")
            try store.apply(created([operation(1, flow: 1)]), of: "b")
            var event = WireOperationEvent()
            event.deletedOperations.values = [1, 77, -5, 0]
            try store.apply(event, of: "a")
            #expect(try count(database, "a") == 0)
            #expect(try count(database, "b") == 1)
            try store.remove(member: "b")
            #expect(try count(database, "b") == 0)
        }
    }

    @Test("come whole or not at all")
    func atomic() throws {
        try withStore { (store, database) throws in
            var bad = operation(2, flow: 2)
            bad.repoGuid = ""
            let event = created([operation(1, flow: 1), bad])
            #expect(throws: PeerSyncFailure.self) { try store.apply(event, of: "a") }
            #expect(try count(database, "a") == 0)
        }
    }

    @Test("are found by status, time and text, and by the last result of each plan")
    func search() throws {
        try withStore { store, database in
            var operations: [WireOperation] = []
            for id in Int64(1)...6 {
                var one = operation(id, flow: id, plan: id % 2 == 0 ? "Even" : "odd")
                one.unixTimeStartMs = id * 1000
                one.unixTimeEndMs = id * 1000 + 1
                one.status = id == 4 ? .statusError : .statusSuccess
                one.displayMessage = id == 4 ? "the disk is full" : ""
                operations.append(one)
            }
            try store.apply(created(operations), of: "a")
            func ids(_ filter: PeerOperationFilter) throws -> [Int64] {
                try database.read { try $0.peerOperations(filter).map(\.record.originalID) }
            }
            #expect(try ids(PeerOperationFilter(statuses: [4])) == [4])
            #expect(try ids(PeerOperationFilter(since: 5000)) == [6, 5])
            #expect(try ids(PeerOperationFilter(text: "eVEN")) == [6, 4, 2])
            #expect(try ids(PeerOperationFilter(text: "disk is")) == [4])
            #expect(try ids(PeerOperationFilter(limit: 2)) == [6, 5])
            let last = try database.read { try $0.lastPeerOperations(kind: 100) }
            #expect(last.map(\.record.originalID).sorted() == [5, 6])
        }
    }
}

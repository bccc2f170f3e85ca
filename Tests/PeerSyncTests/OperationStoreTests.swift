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
    func withStore(
        members: ConfigSection? = nil, limits: OperationStore.Limits = OperationStore.Limits(),
        _ body: (OperationStore, StateDatabase) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "peers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let database = try StateDatabase(folder: StateFolder(path: folder.path))
        try await body(OperationStore(database: database, members: members, limits: limits), database)
        database.close()
    }

    func count(_ database: StateDatabase, _ keyID: String) async throws -> Int {
        try await database.read { try $0.peerOperationCount(of: keyID) }
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
    func numbers() async throws {
        try await withStore { store, database in
            let first = try await store.put(
                created([operation(1, flow: 1), operation(2, flow: 1), operation(3, flow: 3)]), of: "a")
            #expect(first.map(\.previousStatus) == [nil, nil, nil])
            _ = try await store.put(created([operation(1, flow: 1)]), of: "b")
            let before = try await database.read { try $0.peerOperations(PeerOperationFilter(keyID: "a")) }
            var change = operation(2, flow: 1, counter: 5, plan: "other")
            change.unixTimeStartMs = 77
            change.status = .statusError
            let second = try await store.put(created([change]), of: "a")
            #expect(second.map(\.id) == [first[1].id] && second.map(\.previousStatus) == [0])
            let after = try await database.read { try $0.peerOperations(PeerOperationFilter(keyID: "a")) }
            let flows = Dictionary(uniqueKeysWithValues: after.map { ($0.record.originalID, $0.flow) })
            #expect(Set(before.map(\.id)) == Set(after.map(\.id)) && flows[1] == flows[2] && flows[1] != flows[3])
            let changed = try #require(try await database.read { try $0.peerOperation(first[1].id) })
            #expect(changed == after.first)
            #expect(changed.record.counter == 5 && changed.record.plan == "other" && changed.record.kind == 100)
            #expect(changed.record.start == 77 && changed.record.status == 4 && changed.record.keyID == "a")
            let kept = try WireOperation(serializedBytes: changed.record.payload)
            #expect(kept.planID == "other" && kept.originalID == 2)
        }
    }

    @Test("follow the manifest: what it lacks goes, what is new or changed is asked for")
    func manifest() async throws {
        try await withStore { store, database in
            _ = try await store.put(created((1...4).map { operation($0, flow: $0) }), of: "a")
            _ = try await store.put(created([operation(9, flow: 9)]), of: "b")
            let wanted = try await store.compare(ids: [1, 2, 5], counters: [1, 7, 1], of: "a")
            #expect(wanted == [2, 5])
            let left = try await database.read { try $0.peerOperationCounters(of: "a") }
            #expect(left.map(\.id) == [1, 2])
            #expect(try await count(database, "a") == 2)
            #expect(try await count(database, "b") == 1)
            #expect(try await database.read { try $0.peerOperationCount() } == 3)
        }
    }

    @Test("are deleted by ids of the member alone, also those that are not here")
    func deletion() async throws {
        try await withStore { store, database in
            _ = try await store.put(created([operation(1, flow: 1)]), of: "a")
            _ = try await store.put(created([operation(1, flow: 1)]), of: "b")
            var event = WireOperationEvent()
            event.deletedOperations.values = [1, 77, -5, 0, 1] + Array(100...5000)
            _ = try await store.put(event, of: "a")
            #expect(try await count(database, "a") == 0)
            #expect(try await count(database, "b") == 1)
        }
    }

    @Test("are gone with their member at once, and leave nothing behind")
    func removal() async throws {
        try await withStore { store, database in
            let many = (1...2500).map { operation($0, flow: $0, plan: "p\($0 % 7)") }
            let places = try await store.put(created(many), of: "a")
            _ = try await store.put(created([operation(1, flow: 1)]), of: "b")
            try await database.write { try OperationStore.remove(member: "a", in: $0) }
            #expect(try await count(database, "a") == 0)
            #expect(try await database.read { try $0.peerOperation(places[0].id) } == nil)
            #expect(
                try await database.read { try $0.peerOperations(PeerOperationFilter()).map(\.record.keyID) } == ["b"])
            #expect(try await database.read { try $0.lastPeerOperations(kind: 100) }.isEmpty)
            // The same member may come again before the rest is swept.
            _ = try await store.put(created([operation(1, flow: 1)]), of: "a")
            try await store.sweep()
            #expect(try await count(database, "a") == 1)
            #expect(try await database.read { try $0.peerOperationCount() } == 2)
            let again = try await store.put(created([operation(2, flow: 1)]), of: "a")
            #expect(again[0].id > places[2499].id)
        }
    }

    @Test("come whole or not at all")
    func atomic() async throws {
        var limits = OperationStore.Limits()
        limits.series = 9
        try await withStore(limits: limits) { (store, database) async throws in
            var bad = operation(2, flow: 2)
            bad.repoGuid = ""
            let event = created([operation(1, flow: 1), bad])
            await #expect(throws: PeerSyncFailure.self) { try await store.put(event, of: "a") }
            #expect(try await count(database, "a") == 0)
            let plans = created((1...10).map { operation($0, flow: 1, plan: "p\($0)") })
            await #expect(throws: PeerSyncFailure.self) { try await store.put(plans, of: "a") }
            #expect(try await count(database, "a") == 0)
        }
    }

    @Test("are not taken from a session that was displaced, nor from a member that was removed")
    func displaced() async throws {
        let section = ConfigSection(name: "peer")
        try await withStore(members: section) { store, database in
            try await database.write { try $0.put(ConfigEntry(id: "a", properties: [:]), in: section) }
            _ = try await store.put(created([operation(1, flow: 1)]), of: "a")
            let second = created([operation(2, flow: 2)])
            await #expect(throws: PeerSyncFailure(.displaced, "a newer session of the member has begun")) {
                try await store.put(second, of: "a", while: { false })
            }
            await #expect(throws: PeerSyncFailure.self) {
                try await store.compare(ids: [], counters: [], of: "a", while: { false })
            }
            #expect(try await count(database, "a") == 1)
            try await database.write {
                _ = try $0.remove("a", from: section)
                try OperationStore.remove(member: "a", in: $0)
            }
            await #expect(throws: PeerSyncFailure.self) { try await store.put(second, of: "a") }
            #expect(try await count(database, "a") == 0)
        }
    }

    @Test("of many members at once are all stored, each member's in its order; a bad one harms no other")
    func crowd() async throws {
        try await withStore { store, database in
            await withThrowingTaskGroup(of: Void.self) { group in
                for member in 0..<50 {
                    group.addTask {
                        for step in 1...10 as ClosedRange<Int64> {
                            _ = try await store.put(created([operation(step, flow: 1)]), of: "m\(member)")
                            _ = try await store.put(
                                created([operation(1, flow: 1, counter: step)]), of: "m\(member)",
                                while: { step != 10 })
                        }
                    }
                    group.addTask {
                        for _ in 0..<5 {
                            let bad = created([operation(0, flow: 1)])
                            await #expect(throws: PeerSyncFailure.self) { try await store.put(bad, of: "m\(member)") }
                        }
                    }
                }
                while let result = await group.nextResult() {
                    // The last change of each member came from a session that was no longer its own.
                    if case .failure(let error) = result {
                        #expect((error as? PeerSyncFailure)?.kind == .displaced)
                    }
                }
            }
            for member in 0..<50 {
                let counters = try await database.read { try $0.peerOperationCounters(of: "m\(member)") }
                #expect(counters.map(\.id) == Array(1...10))
                #expect(counters.first?.counter == 9)
                #expect(try await count(database, "m\(member)") == 10)
            }
        }
    }

    @Test("are found by status, time and text, and by the last result of each plan")
    func search() async throws {
        try await withStore { store, database in
            var operations: [WireOperation] = []
            for id in Int64(1)...6 {
                var one = operation(id, flow: id, plan: id % 2 == 0 ? "Even" : "odd")
                one.unixTimeStartMs = id * 1000
                one.unixTimeEndMs = id * 1000 + 1
                one.status = id == 4 ? .statusError : .statusSuccess
                one.displayMessage = id == 4 ? "the disk is full" : ""
                operations.append(one)
            }
            // The same plan after the repo got another name.
            operations[4].repoID = "renamed"
            _ = try await store.put(created(operations), of: "a")
            func ids(_ filter: PeerOperationFilter) async throws -> [Int64] {
                try await database.read { try $0.peerOperations(filter).map(\.record.originalID) }
            }
            #expect(try await ids(PeerOperationFilter(statuses: [4])) == [4])
            #expect(try await ids(PeerOperationFilter(statuses: [3, 4])) == [6, 5, 4, 3, 2, 1])
            #expect(try await ids(PeerOperationFilter(statuses: [3, 4], limit: 3)) == [6, 5, 4])
            #expect(try await ids(PeerOperationFilter(keyID: "a", statuses: [4, 7])) == [4])
            #expect(try await ids(PeerOperationFilter(keyID: "nobody")).isEmpty)
            #expect(try await ids(PeerOperationFilter(since: 5000)) == [6, 5])
            #expect(try await ids(PeerOperationFilter(text: "eVEN")) == [6, 4, 2])
            #expect(try await ids(PeerOperationFilter(text: "disk is")) == [4])
            #expect(try await ids(PeerOperationFilter(limit: 2)) == [6, 5])
            let last = try await database.read { try $0.lastPeerOperations(kind: 100) }
            #expect(last.map(\.record.originalID).sorted() == [5, 6])
        }
    }
}

import CairnTestSupport
import Foundation
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

/// What the store must hold, kept in dictionaries.
private struct StoreModel {
    struct Entry: Equatable {
        var id: Int64
        var flow: Int64
        var originalFlow: Int64
        var counter: Int64
        var plan: String
        var status: Int64
        var start: Int64
        var end: Int64
    }

    struct Member {
        var entries: [Int64: Entry] = [:]
        /// All plans that were ever named.
        var plans: Set<String> = []
    }

    let limits: OperationStore.Limits
    var members: [String: Member] = [:]

    var count: Int { members.values.reduce(0) { $0 + $1.entries.count } }

    /// - Parameter ids: What the store has given; nil where it has refused.
    /// - Returns: Whether it was right to do so.
    mutating func put(_ operations: [WireOperation], of keyID: String, ids: [Int64]?) -> Bool {
        var member = members[keyID] ?? Member()
        let before = member.entries.count
        let isValid = operations.allSatisfy {
            $0.id != 0 && $0.flowID != 0 && !$0.repoGuid.isEmpty && !$0.planID.isEmpty
        }
        for (place, sent) in operations.enumerated() {
            member.plans.insert(sent.planID)
            let id = ids?[place] ?? 0
            let known = member.entries[sent.id]
            if let known, ids != nil, known.id != id { return false }
            let flow = known?.flow ?? member.entries.values.first { $0.originalFlow == sent.flowID }?.flow ?? id
            member.entries[sent.id] = Entry(
                id: id, flow: flow, originalFlow: known?.originalFlow ?? sent.flowID, counter: sent.modno,
                plan: sent.planID, status: Int64(sent.status.rawValue), start: sent.unixTimeStartMs,
                end: sent.unixTimeEndMs)
        }
        let added = member.entries.count - before
        let isTooMuch =
            member.plans.count > limits.series
            || added > 0 && (member.entries.count > limits.operations || count + added > limits.operationsOfAll)
        guard operations.isEmpty || isValid && !isTooMuch else { return ids == nil }
        guard ids != nil else { return false }
        if !operations.isEmpty { members[keyID] = member }
        return true
    }

    mutating func keep(_ listed: Set<Int64>, of keyID: String) {
        let kept = members[keyID]?.entries.filter { listed.contains($0.key) } ?? [:]
        members[keyID]?.entries = kept
    }

    mutating func remove(_ ids: [Int64], of keyID: String) {
        for id in ids { members[keyID]?.entries[id] = nil }
    }
}

@Suite("The operations of members, by a model")
struct OperationStoreModelTests {
    static let steps = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == "1" ? 20_000 : 200
    static let keys = ["a", "b", "c"]

    @Test("are what a few dictionaries hold after the same events, good and bad")
    func model() async throws {
        let given = ProcessInfo.processInfo.environment["CAIRN_SEED"].flatMap { UInt64($0) }
        let seed = given ?? UInt64.random(in: 0..<1 << 32)
        print("seed of the store's model: \(seed)")
        var random = SeededRandom(seed: seed)
        var limits = OperationStore.Limits()
        limits.operations = 25
        limits.operationsOfAll = 55
        limits.series = 6
        let folder = FileManager.default.temporaryDirectory.appending(path: "peers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let database = try StateDatabase(folder: StateFolder(path: folder.path))
        defer { database.close() }
        let store = OperationStore(database: database, members: nil, limits: limits)
        var model = StoreModel(limits: limits)
        for step in 0..<Self.steps {
            let keyID = Self.keys.randomElement(using: &random) ?? "a"
            let comment = Comment(rawValue: "step \(step), seed \(seed)")
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<11:
                let operations = (0..<Int.random(in: 0...5, using: &random)).map { _ in Self.operation(&random) }
                var event = WireOperationEvent()
                if Bool.random(using: &random) {
                    event.createdOperations.operations = operations
                } else {
                    event.updatedOperations.operations = operations
                }
                let ids = try? await store.put(event, of: keyID).map(\.id)
                let isRight = model.put(operations, of: keyID, ids: ids)
                #expect(isRight, comment)
            case 11..<14:
                var event = WireOperationEvent()
                event.deletedOperations.values = (0..<6).map { _ in Int64.random(in: -2...30, using: &random) }
                _ = try await store.put(event, of: keyID)
                model.remove(event.deletedOperations.values, of: keyID)
            case 14..<17:
                let ids = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                    Int64.random(in: -2...30, using: &random)
                }
                let counters = ids.map { _ in Int64.random(in: 1...3, using: &random) }
                let wanted = try? await store.compare(ids: ids, counters: counters, of: keyID)
                guard ids.count <= limits.operations else {
                    #expect(wanted == nil, comment)
                    continue
                }
                let known = model.members[keyID]?.entries ?? [:]
                #expect(wanted == zip(ids, counters).filter { known[$0]?.counter != $1 }.map(\.0), comment)
                model.keep(Set(ids), of: keyID)
            case 17:
                var event = WireOperationEvent()
                event.createdOperations.operations = [Self.operation(&random)]
                await #expect(throws: PeerSyncFailure.self, comment) {
                    try await store.put(event, of: keyID, while: { false })
                }
            case 18 where Int.random(in: 0..<4, using: &random) == 0:
                try await database.write { try OperationStore.remove(member: keyID, in: $0) }
                model.members[keyID] = nil
            default: try await store.sweep()
            }
            try await compare(model, database, comment)
        }
    }

    private static func operation(_ random: inout SeededRandom) -> WireOperation {
        let isBad = Int.random(in: 0..<25, using: &random) == 0
        return ReceivedOperationTests.operation {
            $0.id = Int64.random(in: -2...30, using: &random)
            $0.flowID = Int64.random(in: 1...8, using: &random)
            $0.modno = Int64.random(in: 1...3, using: &random)
            $0.planID = "p\(Int.random(in: 0..<7, using: &random))"
            $0.status = WireOperationStatus(rawValue: Int.random(in: 0...7, using: &random)) ?? .statusUnknown
            $0.unixTimeStartMs = Int64.random(in: 1...50, using: &random)
            $0.unixTimeEndMs = Int64.random(in: 0...2, using: &random)
            $0.operationBackup = .init()
            if isBad { $0.repoGuid = "" }
        }
    }

    private func compare(_ model: StoreModel, _ database: StateDatabase, _ comment: Comment) async throws {
        let keyID = Self.keys[Int(comment.rawValue.utf8.reduce(0) { $0 &+ $1 }) % Self.keys.count]
        let (all, failed, last, count) = try await database.read { state in
            (
                try state.peerOperations(PeerOperationFilter(keyID: keyID)),
                try state.peerOperations(PeerOperationFilter(statuses: [4, 5])),
                try state.lastPeerOperations(kind: 100), try state.peerOperationCount(of: keyID)
            )
        }
        let entries = model.members[keyID]?.entries ?? [:]
        #expect(count == entries.count, comment)
        let found = Dictionary(
            uniqueKeysWithValues: all.map {
                (
                    $0.record.originalID,
                    StoreModel.Entry(
                        id: $0.id, flow: $0.flow, originalFlow: $0.record.originalFlow, counter: $0.record.counter,
                        plan: $0.record.plan, status: $0.record.status, start: $0.record.start, end: $0.record.end)
                )
            })
        #expect(found == entries, comment)
        #expect(all.map(\.id) == entries.values.sorted { ($0.start, $0.id) > ($1.start, $1.id) }.map(\.id), comment)
        let everyone = model.members.values.flatMap(\.entries.values)
        let expected = everyone.filter { [4, 5].contains($0.status) }.sorted { ($0.start, $0.id) > ($1.start, $1.id) }
        #expect(failed.map(\.id) == expected.map(\.id), comment)
        let newest = model.members.values.flatMap { member in
            Dictionary(grouping: member.entries.values.filter { $0.end > 0 }, by: \.plan).values.compactMap {
                $0.max { ($0.start, $0.id) < ($1.start, $1.id) }
            }
        }
        #expect(Set(last.map(\.id)) == Set(newest.map(\.id)), comment)
    }
}

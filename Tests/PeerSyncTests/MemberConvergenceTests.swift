import BackupFormats
import CairnTestSupport
import Foundation
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

/// A hub's tables, fed with what a member sends.
private struct ModelHub {
    let store: OperationStore
    let database: StateDatabase
    static let member = "member"

    /// Takes items until so many have come, or the member has nothing more to say.
    ///
    /// - Returns: Whether the manifest and everything that it made the hub ask for has come.
    func take(_ hub: PlayedHub, items: Int) async throws -> Bool {
        var waiting: Set<Int64> = []
        var hasManifest = false
        for _ in 0..<items {
            switch try await hub.next() {
            case .manifest(let ids, let counters):
                let wanted = try await store.compare(ids: ids, counters: counters, of: Self.member)
                hasManifest = true
                waiting = Set(wanted)
                if !wanted.isEmpty { try await hub.send(.operationRequest(ids: wanted)) }
            case .operations(let event):
                let operations = event.createdOperations.operations + event.updatedOperations.operations
                #expect(operations.count <= PeerLimits.operationsPerAnswer)
                _ = try await store.put(event, of: Self.member)
                waiting.subtract(operations.map(\.id))
            default: continue
            }
            if hasManifest, waiting.isEmpty { return true }
        }
        return false
    }

    func contents() throws -> [Int64: [UInt8]] {
        let rows = try database.read {
            try $0.peerOperations(PeerOperationFilter(keyID: Self.member, limit: 100_000))
        }
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.record.originalID, $0.record.payload) })
    }
}

@Suite("A member and a hub")
struct MemberConvergenceTests {
    static let rounds = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == nil ? 50 : 2000

    @Test("agree in the end, whatever changes and wherever the stream is cut")
    func convergence() async throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed of the changes and cuts: \(seed)")
        var random = SeededRandom(seed: seed)
        let world = try MemberWorld(pause: .zero) { $0.isLooking = false }
        let view = StoreView(name: "store", identity: Array(repeating: 1, count: 16))
        world.feed.setView([view])
        let hubFolder = try TemporaryFolder()
        let hubDatabase = try StateDatabase(folder: StateFolder(path: "\(hubFolder.path)/hub"))
        let model = ModelHub(store: OperationStore(database: hubDatabase, members: nil), database: hubDatabase)
        try world.addHub()

        func change() throws {
            let now = world.clock.seconds
            let contents = try (0..<Int.random(in: 1...6, using: &random)).map { _ in
                let number = Int.random(in: 0..<60, using: &random)
                // Snapshots, some of which go, and commands.
                let isSnapshot = number % 3 == 0
                return try MemberWorld.content(
                    "subject \(number)", store: view, kind: isSnapshot ? 101 : 108,
                    start: (now - Int64(number)) * 1000, snapshot: isSnapshot ? "s\(number)" : "",
                    isForgotten: isSnapshot ? Bool.random(using: &random) : nil,
                    message: "\(UInt8.random(in: 0...255, using: &random))")
            }
            world.feed.tell(try world.feed.operations.put(contents))
        }

        try await world.run {
            for _ in 0..<Self.rounds {
                try change()
                let hub = try await world.nextSession()
                try await hub.accept()
                // The stream is cut after an item, while changes go on.
                let items = Int.random(in: 0...5, using: &random)
                _ = try await model.take(hub, items: items)
                try change()
                hub.stream.close()
            }
            let hub = try await world.nextSession()
            try await hub.accept()
            #expect(try await model.take(hub, items: 1000))
            let listed = try world.feed.operations.listed { _, _, _ in true }
            let wanted = try world.feed.operations.operations(listed.ids) { _, _, _ in true }
            let held = try model.contents()
            #expect(Set(held.keys) == Set(listed.ids))
            for operation in wanted {
                let kept = try WireOperation(serializedBytes: held[operation.id] ?? [])
                #expect(kept.modno == operation.modno && kept.displayMessage == operation.displayMessage)
                #expect(kept.originalID == operation.id && kept.originalFlowID == operation.flowID)
            }
            // And goes on live.
            try change()
            try await hub.send(.manifestRequest)
            #expect(try await model.take(hub, items: 1000))
            #expect(try Set(model.contents().keys).isSuperset(of: world.feed.operations.listed { _, _, _ in true }.ids))
        }
    }

    @Test("agree over thousands of operations, in answers of bounded size")
    func many() async throws {
        let world = try MemberWorld { $0.isLooking = false }
        let view = StoreView(name: "store", identity: Array(repeating: 1, count: 16))
        world.feed.setView([view])
        let hubFolder = try TemporaryFolder()
        let hubDatabase = try StateDatabase(folder: StateFolder(path: "\(hubFolder.path)/hub"))
        let model = ModelHub(store: OperationStore(database: hubDatabase, members: nil), database: hubDatabase)
        _ = try world.feed.operations.put(
            (0..<1300).map { number in
                try MemberWorld.content(
                    "s\(number)", store: view, kind: 101, start: world.clock.seconds * 1000, snapshot: "s\(number)",
                    isForgotten: false)
            })
        try world.addHub()
        try await world.run {
            let hub = try await world.nextSession()
            try await hub.accept()
            #expect(try await model.take(hub, items: 100))
            #expect(try model.contents().count == 1300)
        }
    }
}

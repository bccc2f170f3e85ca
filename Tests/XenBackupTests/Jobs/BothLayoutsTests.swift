import BackupFormats
import CairnTestSupport
import Logging
import Synchronization
import Testing
import VirtualDisks
import XenAPI

@testable import XenBackup

@Suite("A job to both layouts")
struct BothLayoutsTests {
    /// A pool in memory, a classic remote of files in memory, and a datastore.
    final class World: RepositoryOpening, XenHostConnecting {
        let host = FakeHost()
        let clock = ManualClock()
        let files = MemoryFiles()
        let stores: ChunkStoreWorld
        private let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

        init() throws { stores = try ChunkStoreWorld() }

        func service() -> XenBackups {
            XenBackups(
                repositories: self, hosts: self, configuration: .init(), clock: clock.source, logger: silent,
                openDisk: FakeDisk.openWhole)
        }

        func open(_ remote: JSONObject) async throws -> any XenRepository {
            if remote["id"] == "classic" {
                return ClassicRepository(
                    files: files, remoteID: "classic", name: "classic", time: clock.source, logger: silent,
                    test: { _ in [:] })
            }
            let address = try #require(try ChunkStoreAddress(path: "/chunkstore/main"))
            return try await stores.stores.open(address, remoteID: "store", name: "store")
        }

        func connect(_ xapi: JSONObject) async throws -> any XenHost { host }
    }

    @Test("gives back each state of each disk, also after merges")
    func deltas() async throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededRandom(seed: seed)
        let world = try World()
        let uuid = FakeHost.uuid(999)
        let vm = world.host.addMachine(uuid)
        var disks = [world.host.addDisk(to: vm, name: "a", blocks: 5, content: [0: 1, 3: 2])]
        let service = world.service()
        var states: [Int64: [String: FakeHost.Content]] = [:]
        for round in 0..<6 {
            if round == 2 { disks.append(world.host.addDisk(to: vm, name: "b", blocks: 3, content: [1: 7])) }
            if round == 4 { world.host.change("VDI", disks[0], "virtual_size", .integer(7 * 2 << 20)) }
            for disk in disks {
                let block = Int.random(in: 0..<(round >= 4 && disk == disks[0] ? 7 : 3), using: &random)
                world.host.write(disk, [block: UInt8.random(in: 1...255, using: &random)])
            }
            let tree = TestTree()
            let job: JSONObject = [
                "job": [
                    "id": "11111111-0000-4000-8000-000000000001", "type": "backup", "mode": "delta", "name": "nightly",
                    "vms": ["id": .string(uuid)],
                    "remotes": ["id": ["__or": ["classic", "store"]]], "settings": ["": ["exportRetention": 3]],
                ],
                "schedule": ["id": "s1"], "remotes": ["classic": [:], "store": [:]], "xapis": ["x": [:]],
                "recordToXapi": .object([uuid: "x"]),
            ]
            try service.admit(job)
            let stamp = world.clock.seconds * 1000
            try await service.run(job, root: tree.root())
            for record in tree.records.dropFirst() {
                #expect(
                    record.isSuccess == true, "seed \(seed), round \(round): \(record.name) \(record.message ?? "")")
                #expect(record.warnings.isEmpty, "seed \(seed), round \(round): \(record.warnings)")
            }
            #expect(tree.all("export").map { $0.properties["isFull"] } == Array(repeating: .bool(round == 0), count: 2))
            states[stamp] = Dictionary(
                uniqueKeysWithValues: disks.map {
                    (world.host.fields("VDI", $0)?["uuid"]?.stringValue ?? "", world.host.content($0))
                })
            world.clock.advance(seconds: 86_400)
        }
        for id in ["classic", "store"] {
            let repository = try await world.open(["id": .string(id)])
            let backups = try await repository.vmBackups(of: uuid)[uuid] ?? []
            #expect(backups.map(\.metadata.timestamp) == states.keys.sorted().suffix(3), "seed \(seed), \(id)")
            for backup in backups {
                let reader = try await repository.openBackup(backup.id)
                for (reference, record) in reader.metadata.vdis.members.map({ ($0.name, $0.value) }) {
                    let live = record["$snapshot_of$uuid"]?.stringValue ?? ""
                    let expected = states[backup.metadata.timestamp]?[live]
                    let view = try await reader.disk(reference)
                    for index in 0..<DiskGeometry.blockCount(view.size) {
                        let byte = expected?[index] ?? 0
                        #expect(
                            try await view.block(index) == Array(repeating: byte, count: DiskGeometry.blockBytes),
                            "seed \(seed), \(id), \(backup.id), block \(index)")
                    }
                }
                #expect(reader.metadata.vdis.members.count == states[backup.metadata.timestamp]?.count)
                await reader.close()
            }
            await repository.close()
        }
    }
}

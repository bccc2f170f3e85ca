import BackupFormats
import Synchronization
import Testing

@testable import XenBackup

@Suite("Rolling snapshots")
struct SnapshotRetentionTests {
    static func marks(_ world: XenWorld) -> [String] {
        world.host.state.withLock { state in
            (state.objects["VM"] ?? [:]).values.filter { $0["is_a_snapshot"] == true }
                .compactMap { $0["other_config"]?["xo:backup:schedule"]?.stringValue }.sorted()
        }
    }

    @Test("stay as many as each schedule says, without any remote", arguments: ["full", "delta"])
    func rolling(_ mode: String) async throws {
        let world = XenWorld(remotes: [])
        _ = world.host.addDisk(to: world.host.addMachine("vm1"))
        let settings: JSONObject = ["s1": ["snapshotRetention": 2], "s2": ["snapshotRetention": 1]]
        for schedule in ["s1", "s1", "s2", "s1", "s2"] {
            let tree = try await world.run(
                world.parameters(["vm1"], mode: mode, job: ["settings": .object(settings)], schedule: schedule))
            #expect(tree.all("snapshot").count == 1)
        }
        #expect(Self.marks(world) == ["s1", "s1", "s2"])
        #expect(world.host.count("VDI") == 4)
    }

    @Test("stay beside the base of the next delta")
    func besideBase() async throws {
        let world = XenWorld()
        _ = world.host.addDisk(to: world.host.addMachine("vm1"))
        for _ in 0..<4 {
            try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 1, "snapshotRetention": 2]))
        }
        #expect(Self.marks(world).count == 2)
    }

    @Test("of other jobs and of people are not touched")
    func others() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        _ = world.host.addDisk(to: vm)
        _ = try await world.host.run("VM.snapshot", [.string(vm), "mine"])
        try await world.run(
            world.parameters(
                ["vm1"], mode: "full", settings: ["snapshotRetention": 1], job: ["id": "job-2"], remotes: []))
        try await world.run(world.parameters(["vm1"], mode: "full", settings: ["exportRetention": 1]))
        #expect(world.host.snapshotNames == ["[XO Backup nightly] name of vm1", "mine"])
    }

    @Test("left unfinished by an interrupted run go away")
    func leftovers() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        _ = world.host.addDisk(to: vm)
        _ = try await world.host.run("VM.snapshot", [.string(vm), .string(JobSnapshots.temporaryName)])
        try await world.run(world.parameters(["vm1"], mode: "full", settings: ["exportRetention": 1]))
        #expect(world.host.snapshotNames.isEmpty)
        #expect(world.host.count("VDI") == 1)
    }
}

import BackupFormats
import CairnTestSupport
import Synchronization
import Tasks
import Testing
import XenAPI

@testable import XenBackup

@Suite("A job in trouble")
struct JobFailureTests {
    static func world() -> (XenWorld, vm: String, disk: String) {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        return (world, vm, world.host.addDisk(to: vm, content: [0: 1]))
    }

    // MARK: Remotes

    static let steps = [
        "open", "target", "prepare", "disksWithBase", "begin", "write", "written", "commit", "retention", "clean",
        "retention before",
    ]

    @Test("goes on with one remote where the other fails", arguments: steps)
    func oneRemoteFails(_ step: String) async throws {
        let (world, _, disk) = Self.world()
        let job = world.parameters(
            ["vm1"], settings: ["exportRetention": 3, "deleteFirst": .bool(step == "retention before")])
        try await world.run(job)
        world.remotes[1].fault(step) { throw BackupFailure(.unavailable, "the cable is cut") }
        world.host.write(disk, [1: 9])
        let tree = try await world.run(job)
        #expect(world.remotes[0].backups("vm1").count == 2)
        world.expectNewest("vm1", holds: [world.host.content(disk)], on: [world.remotes[0]])
        #expect(tree.all("backup VM").first?.isSuccess == true)

        let failed = tree.records.filter { $0.isSuccess == false && $0.message?.contains("the cable is cut") == true }
        let isSeen = failed.contains {
            $0.properties["id"] == "r2" && $0.name == (step == "open" ? "get remote adapter" : "export")
        }
        #expect(isSeen, "\(failed.map(\.name))")
        #expect(tree.all("export").contains { $0.properties["id"] == "r1" && $0.isSuccess == true })

        // The next run makes good for it.
        world.remotes[1].fault(step, nil)
        world.host.write(disk, [0: 8])
        try await world.run(job)
        world.expectNewest("vm1", holds: [world.host.content(disk)])
        #expect(world.host.snapshotNames.count == 1)
    }

    @Test("fails a machine that no remote took, and leaves no snapshot", arguments: steps.dropFirst())
    func allRemotesFail(_ step: String) async throws {
        let (world, vm, disk) = Self.world()
        let job = world.parameters(
            ["vm1"], settings: ["exportRetention": 3, "deleteFirst": .bool(step == "retention before")])
        if step == "disksWithBase" { try await world.run(job) }
        for remote in world.remotes { remote.fault(step) { throw BackupFailure(.unavailable, "the cable is cut") } }
        let tree = try await world.run(job)
        let machine = try #require(tree.all("backup VM").first)
        let isLate = ["retention", "clean"].contains(step)
        #expect(machine.isSuccess == isLate)
        if !isLate { #expect(machine.message?.hasPrefix("all targets have failed, step: ") == true) }
        #expect(world.host.snapshotNames.count == (isLate || step == "disksWithBase" ? 1 : 0))
        #expect(world.host.fields("VM", vm)?["blocked_operations"] == [:])
        for remote in world.remotes { remote.fault(step, nil) }
        try await world.run(job)
        world.expectNewest("vm1", holds: [world.host.content(disk)])
    }

    @Test("does nothing, and succeeds, where nothing is asked for")
    func nothing() async throws {
        let (world, _, _) = Self.world()
        for settings: JSONObject in [[:], ["exportRetention": 0]] {
            let tree = try await world.run(world.parameters(["vm1"], settings: settings))
            #expect(tree.all("backup VM").first?.isSuccess == true)
        }
        let tree = try await world.run(
            world.parameters(
                ["vm1"], settings: ["exportRetention": 1],
                job: [
                    "settings": [
                        "": ["exportRetention": 1], "r1": ["exportRetention": 0], "r2": ["exportRetention": 0],
                    ]
                ]))
        #expect(tree.all("export").isEmpty)
        #expect(world.host.calls("VM.snapshot") == 0)
    }

    // MARK: Cancellation and faults at every point

    /// Nothing of the run is left but what the next one needs.
    static func expectTidy(_ world: XenWorld, _ vm: String, _ context: String) {
        let machine = world.host.fields("VM", vm)
        #expect(machine?["blocked_operations"] == [:], "\(context)")
        #expect(machine?["power_state"] == "Running", "\(context)")
        let snapshots = machine?["snapshots"]?.arrayValue?.count ?? 0
        #expect(snapshots <= 1, "\(context)")
        #expect(world.host.count("VDI") == 1 + snapshots, "\(context)")
        #expect(!world.host.snapshotNames.contains(JobSnapshots.temporaryName), "\(context)")
    }

    @Test("leaves nothing behind wherever it is cancelled", arguments: ["full", "delta"], [false, true])
    func cancelledAnywhere(_ mode: String, isOffline: Bool) async throws {
        for point in 0..<1000 {
            let (world, vm, disk) = Self.world()
            let job = world.parameters(
                ["vm1"], mode: mode, settings: ["exportRetention": 3, "offlineSnapshot": .bool(isOffline)])
            try await world.run(job)
            let before = world.remotes.map { $0.backups("vm1").count }
            let count = Count()
            let root = Mutex<TaskNode?>(nil)
            let step: @Sendable (String) -> Void = { _ in
                if count.add(1) == point { root.withLock { $0 }?.cancel() }
            }
            world.host.state.withLock { $0.everyCall = { step($0) } }
            for remote in world.remotes { remote.state.withLock { $0.everyStep = { step($0) } } }
            world.host.write(disk, [1: 9])
            let (tree, failure) = await world.attempt(job) { node in root.withLock { $0 = node } }
            world.host.state.withLock { $0.everyCall = nil }
            for remote in world.remotes { remote.state.withLock { $0.everyStep = nil } }
            let isOver = count.value <= point
            Self.expectTidy(world, vm, "\(mode), cancelled at \(point)")
            let made = world.remotes.enumerated().map { $1.backups("vm1").count - before[$0] }
            if let failure {
                #expect(failure is CancellationError, "cancelled at \(point)")
                #expect(made.allSatisfy { $0 <= 1 })
            } else {
                // Not cancelled, or when nothing was left to do but to close what was open.
                #expect(made.allSatisfy { $0 == 1 }, "cancelled at \(point)")
            }
            _ = tree
            try await world.run(job)
            if mode == "delta" { world.expectNewest("vm1", holds: [world.host.content(disk)]) }
            Self.expectTidy(world, vm, "\(mode), run again after cancellation at \(point)")
            if isOver { return }
        }
        Issue.record("the job never ends")
    }

    @Test("is whole again in the next run, whichever call fails", arguments: ["full", "delta"])
    func failsAnywhere(_ mode: String) async throws {
        for point in 0..<1000 {
            let (world, vm, disk) = Self.world()
            let job = world.parameters(["vm1"], mode: mode, settings: ["exportRetention": 3])
            try await world.run(job)
            let count = Count()
            world.host.state.withLock {
                $0.everyCall = { method in
                    if count.add(1) == point {
                        throw XenFailure(code: "INTERNAL_ERROR", parameters: [method])
                    }
                }
            }
            world.host.write(disk, [1: 9])
            _ = await world.attempt(job)
            world.host.state.withLock { $0.everyCall = nil }
            let isOver = count.value <= point
            #expect(world.host.fields("VM", vm)?["power_state"] == "Running")
            try await world.run(job)
            if mode == "delta" { world.expectNewest("vm1", holds: [world.host.content(disk)]) }
            let last = try #require(world.remotes[0].backups("vm1").last)
            #expect(last.metadata.timestamp / 1000 >= world.clock.seconds - 60, "\(mode), failed at \(point)")
            let machine = world.host.fields("VM", vm)
            #expect(machine?["blocked_operations"] == [:], "\(mode), failed at \(point)")
            #expect((machine?["snapshots"]?.arrayValue?.count ?? 0) <= 1, "\(mode), failed at \(point)")
            if isOver { return }
        }
        Issue.record("the job never ends")
    }

    // MARK: What is restored

    @Test("keeps blocks that others set, and takes away those of an interrupted run")
    func blocks() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine(
            "vm1",
            ["blocked_operations": ["pool_migrate": .string(MigrationGuard.reason), "migrate_send": "by the owner"]])
        try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 1]))
        #expect(world.host.fields("VM", vm)?["blocked_operations"] == ["migrate_send": "by the owner"])
    }

    @Test(
        "starts the machine again, also after a failure", arguments: ["offlineBackup", "offlineSnapshot"],
        [false, true])
    func offline(_ setting: String, fails: Bool) async throws {
        let (world, vm, _) = Self.world()
        let state = Mutex<JSONValue?>(nil)
        world.remotes[0].fault("write") { [host = world.host] in
            state.withLock { $0 = host.fields("VM", vm)?["power_state"] }
            if fails { throw BackupFailure(.unavailable, "the cable is cut") }
        }
        if fails { world.remotes[1].fault("write") { throw BackupFailure(.unavailable, "the cable is cut") } }
        let tree = try await world.run(
            world.parameters(["vm1"], mode: "full", settings: ["exportRetention": 1, setting: true]))
        #expect(tree.all("backup VM").first?.isSuccess == !fails)
        #expect(state.withLock { $0 } == (setting == "offlineBackup" ? "Halted" : "Running"))
        #expect(world.host.fields("VM", vm)?["power_state"] == "Running")
        #expect(world.host.calls("VM.snapshot") == (setting == "offlineBackup" ? 0 : 1))
    }

    @Test("does not start a machine that did not run")
    func halted() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1", ["power_state": "Halted"])
        try await world.run(
            world.parameters(["vm1"], mode: "full", settings: ["exportRetention": 1, "offlineBackup": true]))
        #expect(world.host.fields("VM", vm)?["power_state"] == "Halted")
        #expect(world.host.calls("VM.snapshot") == 0)
    }

    @Test("refuses offlineBackup with rolling snapshots")
    func offlineAndSnapshots() async throws {
        let (world, _, _) = Self.world()
        let tree = try await world.run(
            world.parameters(["vm1"], settings: ["exportRetention": 1, "offlineBackup": true, "snapshotRetention": 1]))
        #expect(tree.all("backup VM").first?.isSuccess == false)
    }

    // MARK: Retries, limits

    @Test("tries failed machines again after the others, in the same task")
    func retries() async throws {
        let world = XenWorld(remotes: [FakeRepository("r1")])
        for uuid in ["a", "b", "c"] { _ = world.host.addMachine(uuid) }
        let count = Count()
        world.host.fault("VM.snapshot") {
            if count.add(1) < 2 { throw XenFailure(code: "SR_FULL") }
        }
        let tree = try await world.run(
            world.parameters(
                ["a", "b", "c"], settings: ["exportRetention": 1, "nRetriesVmBackupFailures": 1, "concurrency": 1]))
        #expect(tree.all("backup VM").map(\.isSuccess) == [true, true, true])
        #expect(tree.all("backup VM").map { $0.properties["id"] } == ["a", "b", "c"])
        let warnings = tree.all("backup VM").map(\.warnings)
        #expect(warnings.map(\.count) == [1, 1, 0])
        #expect(warnings[0][0].data?["isRetry"] == true)
        #expect(warnings[0][0].data?["attempt"] == 1)
        let order = world.remotes[0].state.withLock {
            $0.backups.values.flatMap { $0 }.sorted { $0.metadata.timestamp < $1.metadata.timestamp }
        }
        #expect(order.count == 3)
    }

    @Test("gives up after as many retries as the settings say")
    func retriesEnd() async throws {
        let world = XenWorld()
        _ = world.host.addMachine("vm1")
        world.host.fault("VM.snapshot") { throw XenFailure(code: "SR_FULL") }
        let tree = try await world.run(
            world.parameters(["vm1"], settings: ["exportRetention": 1, "nRetriesVmBackupFailures": 3]))
        #expect(world.host.calls("VM.snapshot") == 4)
        #expect(tree.all("backup VM").count == 1)
        #expect(tree.all("backup VM").first?.warnings.count == 3)
        #expect(tree.all("backup VM").first?.isSuccess == false)
    }

    @Test("works at as many machines at a time as the settings say", arguments: [(1, 1), (3, 3), (0, 8)])
    func concurrency(_ wish: Int, _ limit: Int) async throws {
        let world = XenWorld(remotes: [FakeRepository("r1")])
        let vms = (0..<8).map { "vm\($0)" }
        for uuid in vms { _ = world.host.addMachine(uuid) }
        try await world.run(
            world.parameters(vms, settings: ["exportRetention": 1, "concurrency": .integer(wish)]))
        #expect(world.remotes[0].state.withLock { $0.mostLocks } <= limit)
        #expect(world.remotes[0].state.withLock { $0.backups.count } == 8)
    }

    @Test("ends a machine that takes longer than vmTimeout, and tidies up")
    func timeout() async throws {
        let (world, vm, _) = Self.world()
        for remote in world.remotes { remote.fault("write") { try await Task.sleep(for: .seconds(600)) } }
        let tree = try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 1, "vmTimeout": 50]))
        #expect(tree.all("backup VM").first?.message?.hasPrefix("the backup of the VM took longer than") == true)
        Self.expectTidy(world, vm, "vmTimeout")
        let (_, failure) = await world.attempt(
            world.parameters(["vm1"], settings: ["exportRetention": 1, "timeout": 50]))
        #expect((failure as? BackupFailure)?.summary.hasPrefix("the job took longer than") == true)
        Self.expectTidy(world, vm, "timeout")
    }

    @Test("lets one target be cancelled without the other")
    func cancelOneExport() async throws {
        let (world, vm, disk) = Self.world()
        world.remotes[1].fault("write") { try await Task.sleep(for: .seconds(600)) }
        let tree = TestTree()
        let root = tree.root()
        let job = world.parameters(["vm1"], settings: ["exportRetention": 1])
        try world.service.admit(job)
        let service = world.service
        let run = Task { try await service.run(job, root: root) }
        var node: TaskNode?
        for _ in 0..<6000 where node == nil {
            let isThere = world.remotes[1].state.withLock { $0.steps.contains("write") }
            if isThere { node = tree.node("export", where: "r2") }
            try await Task.sleep(for: .milliseconds(10))
        }
        try #require(node).cancel()
        try await run.value
        #expect(tree.broken.isEmpty)
        #expect(tree.all("export").first { $0.properties["id"] == "r2" }?.result?["name"] == "CanceledError")
        world.expectNewest("vm1", holds: [world.host.content(disk)], on: [world.remotes[0]])
        #expect(world.remotes.allSatisfy { $0.isAtRest })
        Self.expectTidy(world, vm, "one export cancelled")
    }
}

@Suite("The pools of a job")
struct JobHostTests {
    /// Connects only when it is cancelled, and then all the same.
    final class Silent: XenHostConnecting {
        let host = FakeHost()
        let asked = Latch<Void>()

        func connect(_ xapi: JSONObject) async throws -> any XenHost {
            asked.succeed(())
            try? await Task.sleep(for: .seconds(3600))
            return host
        }
    }

    @Test("are not waited for by who is cancelled, and are closed in the end")
    func silentHost() async throws {
        let connector = Silent()
        let hosts = JobHosts(connector: connector, xapis: ["x": [:]], hostOfRecord: ["vm1": "x"])
        let waiting = Task { try await hosts.host(for: "vm1") }
        try await connector.asked.value()
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        await hosts.close()
        try await eventually { connector.host.state.withLock { $0.isClosed } }
    }
}

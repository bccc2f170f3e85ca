import BackupFormats
import Synchronization
import Tasks
import Testing
import XenAPI

@testable import XenBackup

@Suite("A job of machines")
struct MachineJobTests {
    @Test("writes a full backup to all remotes from one read, and leaves nothing on the host")
    func full() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        _ = world.host.addDisk(to: vm, content: [0: 5, 1: 6])
        let tree = try await world.run(world.parameters(["vm1"], mode: "full", settings: ["exportRetention": 2]))
        for remote in world.remotes {
            #expect(remote.backups("vm1").map(\.xva) == [Array("xva:".utf8) + [0, 5, 1, 6]])
            let metadata = try #require(remote.backups("vm1").first?.metadata)
            #expect(metadata.mode == "full")
            #expect(metadata.vm["name_label"] == "name of vm1")
            #expect(metadata.vmSnapshot?["name_label"] == "[XO Backup nightly] name of vm1")
        }
        #expect(world.host.calls("export") == 1)
        #expect(world.host.snapshotNames.isEmpty)
        #expect(world.host.fields("VM", vm)?["blocked_operations"] == [:])

        let machine = try #require(tree.all("backup VM").first)
        #expect(machine.properties == ["type": "VM", "id": "vm1", "name_label": "name of vm1"])
        #expect(Set(tree.children(of: machine).map(\.name)) == ["snapshot", "export", "clean-vm"])
        for export in tree.all("export") {
            #expect(export.properties["type"] == "remote")
            #expect(export.properties["isFull"] == true)
            #expect(export.isSuccess == true)
            #expect(tree.children(of: export).map(\.name) == ["transfer"])
            #expect(tree.children(of: export).first?.result == ["size": 8])
        }
        #expect(tree.all("snapshot").first?.result?.stringValue?.hasPrefix("00000000-0000-4000-8000-") == true)
        #expect(tree.infos("backup run") == ["vms"])
    }

    @Test("sends differences once there is a base, and holds one snapshot for the next")
    func delta() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        let disk = world.host.addDisk(to: vm, blocks: 4, content: [0: 1, 1: 2])
        for round in 0..<4 {
            world.host.write(disk, [round: UInt8(100 + round)])
            let tree = try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 3]))
            #expect(tree.all("export").allSatisfy { $0.properties["isFull"] == .bool(round == 0) })
            #expect(tree.all("transfer").allSatisfy { $0.result == ["size": .integer((round == 0 ? 2 : 1) * 2 << 20)] })
            #expect(tree.warnings("backup VM").isEmpty)
            #expect(Set(tree.all("clean-vm").compactMap(\.parent)).count == 3)
            world.expectNewest("vm1", holds: [world.host.content(disk)])
            #expect(world.host.snapshotNames == ["[XO Backup nightly] name of vm1"])
        }
        #expect(world.remotes[0].backups("vm1").count == 3)
        let newest = try #require(world.remotes[0].backups("vm1").last)
        let record = try #require(newest.metadata.vdis.members.first?.value)
        #expect(record["$snapshot_of$uuid"] == world.host.fields("VDI", disk)?["uuid"])
        #expect(record["other_config"]?["xo:base_delta_vdi"] != nil)
        #expect(record["other_config"]?["xo:backup:vm"] == "vm1")
        #expect(newest.metadata.vmSnapshot?["blocked_operations"] == [:])
    }

    @Test("marks snapshot and disks, and counts the chain")
    func marks() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine(
            "vm1", ["other_config": ["xo:backup:job": "old", "xo:copy_of": "x", "mine": "1"]])
        _ = world.host.addDisk(to: vm)
        for round in 0..<3 {
            try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 3]))
            let objects = world.host.state.withLock { state in
                (state.objects["VM"] ?? [:]).values.filter { $0["is_a_snapshot"] == true }
                    + (state.objects["VDI"] ?? [:]).values.filter { $0["snapshot_of"] != "OpaqueRef:NULL" }
            }
            #expect(objects.count == 2)
            for object in objects {
                let config = object["other_config"]
                #expect(config?["xo:backup:job"] == "job-1")
                #expect(config?["xo:backup:schedule"] == "s1")
                #expect(config?["xo:backup:vm"] == "vm1")
                #expect(config?["xo:backup:exported"] == "true")
                #expect(config?["xo:backup:deltaChainLength"] == .string(String(round)))
                #expect(config?["xo:copy_of"] == nil)
            }
        }
        #expect(world.host.fields("VM", vm)?["other_config"] == ["mine": "1"])
    }

    @Test(
        "forces a full backup as often as fullInterval says",
        arguments: [(0, "FDDDD"), (1, "FFFFF"), (2, "FDFDF"), (3, "FDDFD")])
    func fullInterval(_ interval: Int, _ expected: String) async throws {
        let world = XenWorld(remotes: [FakeRepository("r1")])
        _ = world.host.addDisk(to: world.host.addMachine("vm1"))
        var sequence = ""
        for _ in 0..<expected.count {
            let tree = try await world.run(
                world.parameters(["vm1"], settings: ["exportRetention": 9, "fullInterval": .integer(interval)]))
            sequence += tree.all("export").first?.properties["isFull"] == true ? "F" : "D"
            #expect(tree.warnings("backup VM").isEmpty)
        }
        #expect(sequence == expected)
    }

    @Test("reads marks of 2021, which stand on the snapshot only")
    func oldMarks() async throws {
        let world = XenWorld()
        _ = world.host.addDisk(to: world.host.addMachine("vm1"))
        let job = world.parameters(["vm1"], settings: ["exportRetention": 3])
        try await world.run(job)
        world.host.state.withLock { state in
            for key in (state.objects["VDI"] ?? [:]).keys { state.objects["VDI"]?[key]?["other_config"] = [:] }
        }
        let tree = try await world.run(job)
        #expect(tree.all("export").first?.properties["isFull"] == false)
    }

    // MARK: Why a delta becomes a full backup

    @Test(
        "says why it fell back to a full backup",
        arguments: ["snapshot gone", "not exported", "remote", "moved", "shrunk"])
    func fallsBack(_ what: String) async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        let disk = world.host.addDisk(to: vm, name: "root", blocks: 4, content: [0: 1])
        let job = world.parameters(["vm1"], settings: ["exportRetention": 3])
        try await world.run(job)
        let snapshot = try #require(world.host.fields("VM", vm)?["snapshots"]?.arrayValue?.first?.stringValue)
        var reason = ""
        switch what {
        case "snapshot gone":
            try await world.host.destroyMachine(snapshot)
            reason = "no earlier snapshot of this job is on the machine"
        case "not exported":
            world.host.state.withLock { state in
                for kind in ["VM", "VDI"] {
                    for key in (state.objects[kind] ?? [:]).keys {
                        var config = state.objects[kind]?[key]?["other_config"]?.objectValue ?? [:]
                        config["xo:backup:exported"] = nil
                        state.objects[kind]?[key]?["other_config"] = .object(config)
                    }
                }
            }
            reason = "no earlier snapshot of this job was exported"
        case "remote":
            world.remotes[1].state.withLock { $0.backups = [:] }
            reason = "the remote remote r2 does not hold the base of disk"
        case "moved":
            world.host.change("VDI", disk, "SR", "OpaqueRef:SR-1")
            reason = "disk root has moved to another storage"
        default:
            world.host.change("VDI", disk, "virtual_size", 2_097_152)
            reason = "disk root has shrunk"
        }
        let tree = try await world.run(job)
        #expect(tree.all("export").allSatisfy { $0.properties["isFull"] == true && $0.isSuccess == true })
        let said = tree.reasons(what == "snapshot gone" ? "full backup" : "Backup fell back to a full")
        #expect(said.count == 1 && said[0].hasPrefix(reason), "\(said)")
        world.expectNewest("vm1", holds: [world.host.content(disk)])
        #expect(world.host.snapshotNames.count == 1)
    }

    @Test("sends a disk whole that was added, leaves one that was removed, and takes one that grew as difference")
    func disksChange() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        let first = world.host.addDisk(to: vm, name: "first", content: [0: 1])
        let job = world.parameters(["vm1"], settings: ["exportRetention": 9])
        try await world.run(job)
        let second = world.host.addDisk(to: vm, name: "second", content: [0: 2])
        world.host.change("VDI", first, "virtual_size", .integer(8 << 20))
        world.host.write(first, [3: 9])
        let tree = try await world.run(job)
        #expect(tree.all("export").allSatisfy { $0.properties["isFull"] == false })
        #expect(tree.reasons("the disk is transferred in full") == ["disk second is not in the last exported snapshot"])
        #expect(tree.all("transfer").allSatisfy { $0.result == ["size": .integer(2 * 2 << 20)] })
        world.expectNewest("vm1", holds: [world.host.content(first), world.host.content(second)])
        world.host.state.withLock { state in
            let last = state.objects["VM"]?[vm]?["VBDs"]?.arrayValue?.last ?? ""
            state.objects["VM"]?[vm]?["VBDs"] = [last]
        }
        world.host.write(second, [1: 7])
        try await world.run(job)
        world.expectNewest("vm1", holds: [world.host.content(second)])
    }

    @Test("takes a disk whole whose difference the host cannot give, with a warning")
    func noDifference() async throws {
        let world = XenWorld()
        let disk = world.host.addDisk(to: world.host.addMachine("vm1"), name: "root", content: [0: 1, 1: 1])
        let job = world.parameters(["vm1"], settings: ["exportRetention": 9])
        try await world.run(job)
        world.host.fault("export_raw_vdi base") { throw XenFailure(code: "VDI_IO_ERROR") }
        let tree = try await world.run(job)
        #expect(tree.warnings("backup VM") == ["can't compute delta root, fall back to a full"])
        world.expectNewest("vm1", holds: [world.host.content(disk)])
        #expect(world.remotes[0].backups("vm1").last?.deltas.isEmpty == true)
        let lengths = world.host.state.withLock { state in
            (state.objects["VM"] ?? [:]).values.compactMap { $0["other_config"]?["xo:backup:deltaChainLength"] }
        }
        #expect(lengths == ["0"])
    }

    // MARK: Disks that are left out

    @Test("leaves out disks that say so", arguments: ["full", "delta"])
    func ignoredDisks(_ mode: String) async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1", ["power_state": "Halted"])
        let disk = world.host.addDisk(to: vm, content: [0: 1])
        _ = world.host.addDisk(to: vm, name: "swap [NOBAK]", content: [0: 66])
        try await world.run(world.parameters(["vm1"], mode: mode, settings: ["exportRetention": 1]))
        if mode == "full" {
            #expect(world.remotes[0].backups("vm1").first?.xva == Array("xva:".utf8) + [0, 1])
        } else {
            world.expectNewest("vm1", holds: [world.host.content(disk)])
            #expect(world.remotes[0].backups("vm1").first?.metadata.json["vbds"]?.objectValue?.members.count == 1)
        }
    }

    @Test("backs up machines of which no disk is left, or that have none", arguments: [0, 1])
    func withoutDisks(_ count: Int) async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        for _ in 0..<count { _ = world.host.addDisk(to: vm, name: "[NOBAK]", content: [0: 66]) }
        for _ in 0..<2 { try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 3])) }
        #expect(world.remotes.allSatisfy { $0.backups("vm1").count == 2 })
        world.expectNewest("vm1", holds: [])
    }

    @Test("takes the memory along, always whole")
    func memory() async throws {
        let world = XenWorld()
        let disk = world.host.addDisk(to: world.host.addMachine("vm1", ["tags": ["xo-memory-backup"]]), content: [0: 1])
        for _ in 0..<2 {
            try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 3]))
            world.expectNewest("vm1", holds: [world.host.content(disk), [0: 77]])
        }
        #expect(world.host.calls("VM.checkpoint") == 2)
    }

    // MARK: Refusals

    @Test("refuses its own copies and machines that move")
    func refusals() async throws {
        let world = XenWorld()
        _ = world.host.addMachine(
            "copy", ["other_config": ["xo:backup:job": "job-1"], "blocked_operations": ["start": "copy"]])
        _ = world.host.addMachine("moving", ["current_operations": ["OpaqueRef:t": "pool_migrate"]])
        let tree = try await world.run(world.parameters(["copy", "moving"], settings: ["exportRetention": 1]))
        #expect(
            Set(tree.all("backup VM").compactMap(\.message)) == [
                "cannot backup a VM created by this very job", "cannot backup a VM currently being migrated",
            ])
        #expect(world.host.calls("VM.snapshot") == 0)
    }

    @Test("says which machine has no pool, and goes on with the others")
    func noPool() async throws {
        let world = XenWorld()
        _ = world.host.addMachine("vm1")
        var parameters = world.parameters(["vm1", "vm2"], settings: ["exportRetention": 1])
        parameters["recordToXapi"] = ["vm1": "x1"]
        let tree = try await world.run(parameters)
        #expect(tree.all("backup VM").map(\.isSuccess).sorted { $0 == true && $1 != true } == [true, false])
        #expect(tree.all("backup VM").compactMap(\.message) == ["no XAPI associated to vm2"])
    }

    @Test("knows the modes full and delta only, and the types of jobs that are built")
    func kinds() async throws {
        let world = XenWorld()
        _ = world.host.addMachine("vm1")
        let tree = try await world.run(world.parameters(["vm1"], mode: "half", settings: ["exportRetention": 1]))
        #expect(tree.all("backup VM").first?.message == "Job mode half not implemented")
        for (type, message) in [
            ("x", "No runner for the backup type x"), ("mirrorBackup", "mirror jobs are not supported yet"),
        ] {
            let failure = try #require(throws: BackupFailure.self) {
                try world.service.admit(world.parameters(["vm1"], job: ["type": .string(type)]))
            }
            #expect(failure.summary == message)
        }
    }

    @Test("is refused while it runs; others run beside it")
    func twice() async throws {
        let world = XenWorld()
        let job = world.parameters(["vm1"])
        try world.service.admit(job)
        let failure = try #require(throws: BackupFailure.self) { try world.service.admit(job) }
        #expect(failure.summary == "job is already running")
        try world.service.admit(world.parameters(["vm1"], job: ["id": "job-2"]))
        #expect(world.service.runningJobs() == ["job-1", "job-2"])
        world.service.withdraw(job)
        #expect(world.service.runningJobs() == ["job-2"])
    }

    @Test("stops at a chain of disks that the storage has not merged")
    func unhealthy() async throws {
        let world = XenWorld()
        let vm = world.host.addMachine("vm1")
        let disk = world.host.addDisk(to: vm)
        var parent: JSONValue?
        for number in 0..<3 {
            _ = world.host.add(
                "VDI",
                [
                    "uuid": .string("base-\(number)"), "managed": false,
                    "sm_config": parent.map { ["vhd-parent": $0] } ?? [:],
                ])
            parent = .string("base-\(number)")
        }
        world.host.change("VDI", disk, "sm_config", ["vhd-parent": "base-2"])
        let tree = try await world.run(world.parameters(["vm1"], settings: ["exportRetention": 1]))
        #expect(tree.all("backup VM").first?.message == "unhealthy VDI chain")
        try await world.run(
            world.parameters(["vm1"], settings: ["exportRetention": 1, "bypassVdiChainsCheck": true]))
        #expect(world.remotes[0].backups("vm1").count == 1)
    }

    @Test("finds its machines by a pattern")
    func pattern() async throws {
        let world = XenWorld()
        for (uuid, tags) in [("a", ["prod"]), ("b", ["test"]), ("c", ["prod", "xo:no-bak=x"]), ("d", ["prod"])] {
            _ = world.host.addMachine(uuid, ["tags": .array(tags.map { .string($0) })])
        }
        _ = world.host.addMachine("t", ["tags": ["prod"], "is_a_template": true])
        _ = world.host.add("pool", ["uuid": "pool-1"])
        let tree = try await world.run(
            world.parameters([], settings: ["exportRetention": 1], job: ["vms": ["tags": ["prod"], "$pool": "pool-1"]]))
        #expect(Set(tree.all("backup VM").compactMap { $0.properties["id"]?.stringValue }) == ["a", "d"])
        let (_, failure) = await world.attempt(world.parameters([], job: ["vms": ["tags": ["none"]]]))
        #expect((failure as? BackupFailure)?.summary == "no VMs match this pattern")
    }

    @Test("names what is not built, and does the rest")
    func notBuilt() async throws {
        let world = XenWorld()
        _ = world.host.addMachine("vm1")
        let tree = try await world.run(
            world.parameters(
                ["vm1"],
                settings: [
                    "exportRetention": 1, "copyRetention": 1, "preferNbd": true, "healthCheckSr": "sr",
                    "cbtDestroySnapshotData": true, "distributeBackups": true,
                ], job: ["srs": ["id": "sr-1"]]))
        #expect(tree.all("get SR record").first?.message == "replication is not supported yet")
        #expect(tree.all("health check").first?.message == "health checks are not supported yet")
        #expect(tree.infos("backup VM").contains { $0.hasPrefix("NBD is not supported yet") })
        #expect(tree.warnings("backup VM").count == 2)
        #expect(world.remotes.allSatisfy { $0.backups("vm1").count == 1 })
    }

    @Test("asks for an uncompressed export where a chunk store is among the targets")
    func compression() async throws {
        for (isChunkStore, expected) in [(true, nil), (false, "zstd")] {
            let world = XenWorld(
                remotes: [FakeRepository("r1"), FakeRepository("r2", prefersUncompressedExports: isChunkStore)])
            _ = world.host.addMachine("vm1")
            try await world.run(
                world.parameters(
                    ["vm1"], mode: "full", settings: ["exportRetention": 1], job: ["compression": "zstd"]))
            #expect(world.host.state.withLock { $0.compressions } == [expected])
        }
    }
}

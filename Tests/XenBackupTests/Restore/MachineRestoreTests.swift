import BackupFormats
import Logging
import Synchronization
import Tasks
import Testing
import VirtualDisks
import XenAPI

@testable import XenBackup

@Suite("A restored machine")
struct MachineRestoreTests {
    private static let null: JSONValue = "OpaqueRef:NULL"

    private static func block(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: DiskGeometry.blockBytes) }

    /// Two disks, a drive, two interfaces; with memory if wanted.
    private static func saved(withMemory: Bool = false, modules: [JSONValue] = []) -> SavedMachine {
        func disk(_ name: String, _ number: Int) -> JSONValue {
            [
                "uuid": .string("10000000-0000-4000-8000-00000000000\(number)"), "name_label": .string(name),
                "$snapshot_of$uuid": .string("20000000-0000-4000-8000-00000000000\(number)"), "virtual_size": 1,
                "SR": "old",
                "type": "user", "sharable": false, "read_only": true, "tags": ["t"],
                "other_config": ["xo:base_delta_vdi": "x", "xo:backup:vm": "y", "own": "z"],
            ]
        }
        var vdis: JSONObject = ["OpaqueRef:a": disk("root", 1), "OpaqueRef:b": disk("data", 2)]
        if withMemory { vdis["OpaqueRef:m"] = disk("memory", 3) }
        let snapshot: JSONObject = [
            "uuid": "s", "name_label": "[XO Backup nightly] web", "is_a_template": true,
            "memory_static_max": 1_073_741_824,
            "HVM_shadow_multiplier": 1, "platform": ["vga": "std"], "affinity": "OpaqueRef:host", "VCPUs_max": 4,
            "suspend_VDI": withMemory ? "OpaqueRef:m" : null, "power_state": withMemory ? "Suspended" : "Halted",
            "blocked_operations": ["destroy": "precious"], "ha_restart_priority": "restart", "unknown_field": 7,
            "other_config": ["mac_seed": "seed", "xo:backup:job": "j", "xo:backup:sr": "kept"], "tags": ["prod"],
            "bios_strings": ["bios-vendor": "Xen"],
        ]
        let json: JSONObject = [
            "mode": "delta", "jobId": "j", "scheduleId": "s", "timestamp": 1_700_000_000_000, "version": "2.0.0",
            "vm": ["uuid": "v", "name_label": "web", "name_description": "old text"],
            "vmSnapshot": .object(snapshot), "vdis": .object(vdis),
            "vbds": [
                "1": [
                    "type": "Disk", "VDI": "OpaqueRef:a", "userdevice": "0", "bootable": true, "mode": "RW",
                    "device": "xvda",
                ],
                "2": ["type": "Disk", "VDI": "OpaqueRef:b", "userdevice": "1", "bootable": false, "mode": "RO"],
                "3": ["type": "CD", "VDI": "OpaqueRef:iso", "userdevice": "3", "empty": false, "mode": "RO"],
                "4": ["type": "Disk", "VDI": "OpaqueRef:nobak", "userdevice": "2", "mode": "RW"],
            ],
            "vifs": [
                "1": [
                    "device": "0", "MAC": "aa:bb:cc:00:11:22", "MTU": 9000, "$network$uuid": "net-lan",
                    "$network$name_label": "LAN", "$network$VLAN": -1,
                ]
            ],
            "vhds": [:], "vtpms": .array(modules),
        ]
        return SavedMachine(
            metadata: VMBackupMetadata(json),
            disks: [
                "OpaqueRef:a": SavedDisk(size: 8 << 20, blocks: [0: block(1), 3: block(2)]),
                "OpaqueRef:b": SavedDisk(size: 5 << 20, blocks: [1: block(3)]),
                "OpaqueRef:m": SavedDisk(size: 2 << 20, blocks: [0: block(4)]),
            ])
    }

    private static func pool(beforeImport: @escaping @Sendable () async throws -> Void = {}) -> StoreHost {
        let host = StoreHost(beforeImport: beforeImport)
        host.add("SR", ["uuid": "sr-1"])
        host.add("SR", ["uuid": "sr-2"])
        let network = host.add("network", ["uuid": "net-lan", "name_label": "LAN"])
        host.add("PIF", ["network": .string(network), "VLAN": -1, "management": true])
        return host
    }

    private func restore(
        _ saved: SavedMachine, _ host: StoreHost, _ tasks: TaskRecord = TaskRecord(),
        _ change: (inout RestoreSettings) -> Void = { _ in }
    ) async throws -> (id: String, size: Int64) {
        var settings = RestoreSettings(storage: "sr-1")
        change(&settings)
        let restore = MachineRestore(
            settings: settings, remoteName: "nas", clock: TimeSource { 1_700_000_060_000_000_000 },
            logger: Logger(label: "test"))
        return try await restore.restore(saved, host: host, task: tasks.root())
    }

    @Test("has the disks, drives, interfaces and settings of the backup, and tells where it comes from")
    func whole() async throws {
        let host = Self.pool()
        let tasks = TaskRecord()
        let result = try await restore(Self.saved(), host, tasks)
        let machine = try host.only("VM")
        #expect(result.id == machine["uuid"]?.stringValue)
        #expect(tasks.results("transfer") == [["id": .string(result.id), "size": .integer(result.size)]])
        #expect(result.size > 6 << 20)
        #expect(machine["name_label"] == "web (20231114T221320Z)")
        #expect(machine["name_description"] == "Restored on 20231114T221420Z from nas - old text")
        #expect(machine["tags"] == ["prod", "restored from backup"])
        #expect(machine["other_config"] == ["mac_seed": "seed", "xo:backup:sr": "kept"])
        #expect(machine["affinity"] == Self.null)
        #expect(machine["is_a_template"] == false)
        #expect(machine["power_state"] == "Halted")
        #expect(machine["HVM_shadow_multiplier"] == .number("1.0"))
        #expect(machine["memory_static_max"] == 1_073_741_824)
        #expect(machine["unknown_field"] == nil)
        #expect(machine["ha_restart_priority"] == "restart")
        #expect(machine["blocked_operations"] == ["destroy": "precious"])
        #expect(machine["bios_strings"] == ["bios-vendor": "Xen"])
        let disks = host.records(of: "VDI")
        #expect(disks.map { $0["name_label"] } == ["root", "data"])
        #expect(disks.map { $0["virtual_size"] } == [.integer(8 << 20), .integer(5 << 20)])
        #expect(disks.allSatisfy { $0["other_config"] == ["own": "z"] && $0["read_only"] == false })
        #expect(host.state.withLock { $0.blocks.values.map(\.count).sorted() } == [1, 2])
        let attachments = host.records(of: "VBD")
        #expect(attachments.map { $0["userdevice"] } == ["0", "1", "3"])
        #expect(attachments.map { $0["empty"] } == [false, false, true])
        #expect(attachments.map { $0["mode"] } == ["RW", "RO", "RO"])
        #expect(attachments[2]["VDI"] == Self.null)
        let interface = try host.only("VIF")
        #expect(interface["MAC"] == "aa:bb:cc:00:11:22")
        #expect(interface["MTU"] == 9000)
    }

    @Test("goes to the storages that are named, by either uuid of a disk, and without disks that are not wanted")
    func storages() async throws {
        let host = Self.pool()
        _ = try await restore(Self.saved(), host) {
            $0.storages = [
                "20000000-0000-4000-8000-000000000001": "sr-2", "10000000-0000-4000-8000-000000000002": nil,
            ]
        }
        let disk = try host.only("VDI")
        #expect(disk["name_label"] == "root")
        let storage = try await host.reference("SR", uuid: "sr-2")
        #expect(disk["SR"] == .string(storage))
        #expect(host.records(of: "VBD").map { $0["userdevice"] } == ["0", "3"])
    }

    @Test("has new addresses and one more tag where that is asked for")
    func newAddresses() async throws {
        let host = Self.pool()
        _ = try await restore(Self.saved(), host) {
            $0.newMACAddresses = true
            $0.additionalTag = "extra"
        }
        let machine = try host.only("VM")
        #expect(try host.only("VIF")["MAC"] == "")
        #expect(machine["other_config"]?["mac_seed"]?.stringValue?.utf8.count == 36)
        #expect(machine["tags"] == ["prod", "restored from backup", "extra"])
    }

    @Test("that was suspended wakes up where it was")
    func suspended() async throws {
        let host = Self.pool()
        _ = try await restore(Self.saved(withMemory: true), host)
        let machine = try host.only("VM")
        #expect(machine["power_state"] == "Suspended")
        let memory = machine["suspend_VDI"]?.stringValue ?? ""
        #expect(try await host.record("VDI", memory)["type"] == "suspend")
        #expect(host.state.withLock { $0.blocks[memory]?[0]?.first } == 4)
        #expect(host.records(of: "VBD").first?["device"] == "xvda")
        #expect(host.records(of: "VBD").allSatisfy { $0["currently_attached"] == true })
        #expect(host.records(of: "VDI").count == 3)
    }

    @Test("has the contents of its vTPM, and then no memory, which it says")
    func trustedModule() async throws {
        let host = Self.pool()
        let tasks = TaskRecord()
        _ = try await restore(Self.saved(withMemory: true, modules: ["c2VjcmV0"]), host, tasks)
        #expect(Array(host.state.withLock { $0.modules }.values) == ["c2VjcmV0"])
        #expect(try host.only("VM")["power_state"] == "Halted")
        #expect(tasks.warnings.contains { $0.contains("memory") })
    }

    @Test("of a full backup is what the host makes of the archive, without marks of backups")
    func full() async throws {
        let host = Self.pool()
        var saved = SavedMachine(
            metadata: VMBackupMetadata([
                "mode": "full", "timestamp": 1_700_000_000_000, "vm": ["name_label": "web", "name_description": ""],
            ]))
        saved.archive = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 >> 3) }
        let result = try await restore(saved, host) { $0.newMACAddresses = true }
        #expect(result.size == 1_000_000)
        #expect(host.state.withLock { $0.imported } == saved.archive)
        let machine = try host.only("VM")
        #expect(machine["is_a_template"] == false)
        #expect(machine["other_config"]?["mine"] == "1")
        #expect(machine["other_config"]?["xo:backup:sr"] == "kept")
        #expect(machine["other_config"]?["xo:backup:job"] == nil)
        #expect(machine["other_config"]?["mac_seed"] != "old")
        #expect(try host.only("VDI")["other_config"] == [:])
        #expect(try host.only("VIF")["MAC"] == "")
        #expect(machine["name_label"] == "web (20231114T221320Z)")
    }

    @Test("is not there when any step of making it fails", arguments: [false, true])
    func failures(withMemory: Bool) async throws {
        var steps = 0
        while true {
            let host = Self.pool()
            host.state.withLock { $0.fuse = steps }
            do {
                _ = try await restore(Self.saved(withMemory: withMemory), host)
                // Some failures are answered with a warning; the last try meets none.
                if host.state.withLock({ $0.fuse }) ?? 0 >= 0 { break }
            } catch {
                for kind in ["VM", "VDI", "VBD", "VIF"] {
                    #expect(host.records(of: kind).isEmpty, "\(kind) left after a failure at step \(steps)")
                }
            }
            steps += 1
        }
        #expect(steps > 10)
    }

    @Test("is not there when its restore is cancelled")
    func cancellation() async throws {
        let isThere = Mutex(false)
        let host = Self.pool {
            isThere.withLock { $0 = true }
            try await Task.sleep(for: .seconds(600))
        }
        let work = Task { try await restore(Self.saved(), host) }
        while !isThere.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
        work.cancel()
        await #expect(throws: CancellationError.self) { try await work.value }
        for kind in ["VM", "VDI", "VBD", "VIF"] { #expect(host.records(of: kind).isEmpty) }
    }

    @Test("is not begun for a storage that is not there, or a mode that nobody knows")
    func refused() async throws {
        let host = Self.pool()
        do {
            _ = try await restore(Self.saved(), host) { $0.storage = "elsewhere" }
            Issue.record("restored")
        } catch let failure as BackupFailure {
            #expect(failure.kind == .noSuchObject)
        }
        #expect(host.records(of: "VM").isEmpty)
        let strange = SavedMachine(metadata: VMBackupMetadata(["mode": "other"]))
        await #expect(throws: BackupFailure.self) { try await restore(strange, host) }
    }

    @Test("says that it was not restored by differences where that was asked for")
    func differential() async throws {
        let tasks = TaskRecord()
        _ = try await restore(Self.saved(), Self.pool(), tasks) { $0.wantsDifferential = true }
        #expect(tasks.warnings.count == 1)
    }

    @Test("takes its settings from the call, and refuses others")
    func settings() throws {
        let settings = try RestoreSettings([
            "srUuid": "s",
            "settings": [
                "newMacAddresses": true, "mapVdisSrs": ["a": "b", "c": nil], "useDifferentialRestore": true,
                "additionalVmTag": "t",
            ],
        ])
        #expect(settings.storages == ["a": "b", "c": nil])
        #expect(settings.newMACAddresses && settings.wantsDifferential && settings.additionalTag == "t")
        #expect(throws: BackupFailure.self) { try RestoreSettings([:]) }
        #expect(throws: BackupFailure.self) {
            try RestoreSettings(["srUuid": "s", "settings": ["mapVdisSrs": ["a": 1]]])
        }
    }
}

@Suite("The network of a restored interface")
struct NetworkChoiceTests {
    private let choice = NetworkChoice(networks: [
        .init(reference: "private", uuid: "u0", name: "LAN", vlan: -1, hasInterface: false, isManagement: false),
        .init(reference: "other", uuid: "u1", name: "other", vlan: 42, hasInterface: true, isManagement: false),
        .init(reference: "dmz", uuid: "u2", name: "DMZ", vlan: 42, hasInterface: true, isManagement: false),
        .init(reference: "lan", uuid: "u3", name: "LAN", vlan: -1, hasInterface: true, isManagement: true),
    ])

    @Test(
        "is the same, else one of VLAN and name, else one of the VLAN, else the default",
        arguments: [
            ("u0", "x", 7, "private"), ("gone", "DMZ", 42, "dmz"), ("gone", "x", 42, "other"),
            ("gone", "LAN", -1, "lan"),
            ("gone", "x", -1, "lan"), ("gone", "DMZ", 7, "lan"),
        ])
    func rules(_ uuid: String, _ name: String, _ vlan: Int, _ expected: String) {
        let interface: JSONObject = [
            "$network$uuid": .string(uuid), "$network$name_label": .string(name), "$network$VLAN": .integer(vlan),
        ]
        #expect(choice.network(for: interface) == expected)
    }

    @Test("is none where the pool has none")
    func none() {
        #expect(NetworkChoice(networks: []).network(for: [:]) == nil)
        #expect(choice.network(for: [:]) == "lan")
    }
}

import BackupFormats
import Tasks
import VirtualDisks
import XenAPI

/// Makes a machine from the parts of a delta backup, in the order that hosts need. (Spec: xo-proxy §6.7.)
struct PartsRestore: Sendable {
    /// Disks that are imported at one time; bounds memory.
    static let width = 3
    static let importing = "[Importing]"
    /// Why the machine cannot be started before it is whole.
    static let blockedOperations: JSONObject = [
        "start": "The machine is being restored", "start_on": "The machine is being restored",
    ]

    let restore: MachineRestore
    let parts: MachineParts
    let host: any XenHost
    let task: TaskNode
    let made: MadeObjects

    /// - Returns: The reference of the machine, which is whole but for its description.
    func run(_ backup: any VMBackupReader, _ progress: RestoreProgress) async throws -> String {
        if parts.isMemoryLeftOut {
            task.warning("the memory image is not restored: hosts take a vTPM only into a halted machine")
        }
        var disks: [NewDisk] = []
        if let memory = parts.memory { disks.append(try await makeDisk(memory, "suspend", backup)) }
        let machine = try await makeMachine(memory: disks.first?.reference)
        for disk in parts.disks { disks.append(try await makeDisk(disk, nil, backup)) }
        try await attach(disks, to: machine)
        try await connect(machine)
        for contents in parts.trustedModules {
            let module = try await host.call("VTPM.create", [.string(machine), false])
            _ = try await host.call("VTPM.set_contents", [module, .string(contents)])
        }
        try await fill(disks, progress)
        for disk in disks {
            try await host.setField("VDI", disk.reference, "name_label", disk.part.record["name_label"] ?? "")
        }
        try await unlock(machine)
        return machine
    }

    // MARK: Disks

    private struct NewDisk: Sendable {
        let part: MachineParts.Disk
        let view: any DiskView
        let reference: String
    }

    private func makeDisk(
        _ part: MachineParts.Disk, _ type: String?, _ backup: any VMBackupReader
    ) async throws -> NewDisk {
        try Task.checkCancellation()
        let view = try await backup.disk(part.reference)
        var record = RestoreFields.disk.pick(from: part.record)
        record["name_label"] = .string("\(Self.importing) \(part.record["name_label"]?.stringValue ?? "")")
        record["other_config"] = .object(RestoreFields.withoutMarks(part.record["other_config"]))
        record["SR"] = .string(try await host.storage(part.storage))
        record["virtual_size"] = .integer(view.size)
        // A disk that was read-only, such as a snapshot's of some storages, could not be filled.
        record["read_only"] = false
        if let type { record["type"] = .string(type) }
        let reference = try await created("VDI", record)
        await made.add(disk: reference)
        return NewDisk(part: part, view: view, reference: reference)
    }

    private func fill(_ disks: [NewDisk], _ progress: RestoreProgress) async throws {
        var exports: [(disk: String, export: VHDExport)] = []
        for disk in disks {
            let uuid = disk.part.record["uuid"]?.stringValue.flatMap { DiskUUID(parsing: $0) } ?? .zero
            let export = try await VHDExport.open(disk.view, uuid: uuid)
            progress.expect(export.byteCount)
            exports.append((disk.reference, export))
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, (disk, export)) in exports.enumerated() {
                if index >= Self.width { try await group.next() }
                group.addTask {
                    try await host.importDisk(
                        disk, from: CountedSource(export, progress), byteCount: export.byteCount)
                }
            }
            try await group.waitForAll()
        }
    }

    // MARK: Machine

    private func makeMachine(memory: String?) async throws -> String {
        try Task.checkCancellation()
        let saved = parts.machine
        var record = RestoreFields.machine.pick(from: saved)
        record["name_label"] = .string("\(Self.importing) \(saved["name_label"]?.stringValue ?? "")")
        record["is_a_template"] = false
        record["affinity"] = .string(XenReference.null)
        record["blocked_operations"] = .object(Self.blockedOperations)
        record["ha_always_run"] = false
        record["ha_restart_priority"] = ""
        var otherConfig = RestoreFields.withoutMarks(saved["other_config"])
        if restore.settings.newMACAddresses {
            otherConfig[RestoreFields.addressSeed] = .string(try RestoreFields.freshSeed())
        }
        record["other_config"] = .object(otherConfig)
        if let memory {
            record["suspend_VDI"] = .string(memory)
            record["power_state"] = "Suspended"
        }
        let machine = try await created("VM", record)
        await made.add(machine: machine)
        // Some hosts give a new machine drives of their own.
        for item in try await host.field("VM", machine, "VBDs").arrayValue ?? [] {
            try await host.unlessGone { _ = try await host.call("VBD.destroy", [item]) }
        }
        try await setBIOSStrings(machine)
        return machine
    }

    private func setBIOSStrings(_ machine: String) async throws {
        guard let strings = parts.machine["bios_strings"], strings.objectValue?.members.isEmpty == false else { return }
        do {
            _ = try await host.call("VM.set_bios_strings", [.string(machine), strings])
        } catch let failure as XenFailure where failure.code == "MESSAGE_METHOD_UNKNOWN" {
            // Hosts before 7.3 have no such strings.
        } catch let failure as XenFailure {
            task.warning("the BIOS strings were not restored", ["reason": .string("\(failure)")])
        }
    }

    private func attach(_ disks: [NewDisk], to machine: String) async throws {
        let references = Dictionary(uniqueKeysWithValues: disks.map { ($0.part.reference, $0.reference) })
        for saved in parts.attachments {
            var record = RestoreFields.attachment.pick(from: saved)
            let disk = XenReference.of(saved["VDI"]).flatMap { references[$0] }
            record["VM"] = .string(machine)
            record["VDI"] = .string(disk ?? XenReference.null)
            record["empty"] = .bool(disk == nil)
            keepDevice(of: saved, in: &record)
            _ = try await created("VBD", record)
        }
    }

    private func connect(_ machine: String) async throws {
        guard !parts.interfaces.isEmpty else { return }
        let networks = try await NetworkChoice.load(host)
        for saved in parts.interfaces {
            guard let network = networks.network(for: saved) else {
                task.warning("the pool has no network for an interface", ["device": saved["device"] ?? ""])
                continue
            }
            var record = RestoreFields.interface.pick(from: saved)
            record["VM"] = .string(machine)
            record["network"] = .string(network)
            if restore.settings.newMACAddresses { record["MAC"] = "" }
            keepDevice(of: saved, in: &record)
            _ = try await created("VIF", record)
        }
    }

    /// A suspended machine wakes up with the devices that it had.
    private func keepDevice(of saved: JSONObject, in record: inout JSONObject) {
        guard parts.isSuspended else { return }
        record["device"] = saved["device"]
        record["currently_attached"] = true
    }

    /// Lets the machine be started, and gives back what it was created without.
    private func unlock(_ machine: String) async throws {
        let saved = parts.machine
        for (name, value) in [
            ("ha_always_run", saved["ha_always_run"]), ("ha_restart_priority", saved["ha_restart_priority"]),
        ] {
            guard let value, value.boolValue == true || value.stringValue?.isEmpty == false else { continue }
            do {
                try await host.setField("VM", machine, name, value)
            } catch let failure as XenFailure {
                task.warning("\(name) was not restored", ["reason": .string("\(failure)")])
            }
        }
        let blocked = MigrationGuard.withoutOurs(saved)["blocked_operations"] ?? [:]
        try await host.setField("VM", machine, "blocked_operations", blocked)
    }

    private func created(_ kind: String, _ record: JSONObject) async throws -> String {
        guard let reference = try await host.call("\(kind).create", [.object(record)]).stringValue else {
            throw BackupFailure(.corruptData, "The host answers \(kind).create without a reference")
        }
        return reference
    }
}

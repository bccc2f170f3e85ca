import BackupFormats
import XenAPI

/// What one backup exports: a snapshot, or a halted machine itself, with the records of its parts.
struct ExportedMachine: Sendable {
    let reference: String
    let isSnapshot: Bool
    /// Time of the backup in Unix milliseconds.
    let stamp: Int64
    let record: JSONObject
    /// Without those that are not to be backed up.
    let disks: [LiveDisk]
    /// The memory of a machine that is suspended or was taken with it.
    let memory: LiveDisk?

    static func load(
        _ reference: String, isSnapshot: Bool, _ stamp: Int64, _ host: any XenHost
    ) async throws -> ExportedMachine {
        let record = try await host.record("VM", reference)
        var memory: LiveDisk?
        if let suspended = XenReference.of(record["suspend_VDI"]) {
            try await host.unlessGone {
                memory = LiveDisk(reference: suspended, record: try await host.record("VDI", suspended))
            }
        }
        let disks = try await LiveDisk.all(of: XenRecord(reference, record), host).filter { !$0.isIgnored }
        return ExportedMachine(
            reference: reference, isSnapshot: isSnapshot, stamp: stamp, record: record, disks: disks, memory: memory)
    }

    /// More than this an uncompressed export never has; object stores size their parts by it. (Spec: xo-proxy §6.6.)
    var exportLimit: UInt64 {
        let piece: UInt64 = 1 << 20
        return (disks + (memory.map { [$0] } ?? [])).reduce(piece) { total, disk in
            let (pieces, rest) = disk.size.quotientAndRemainder(dividingBy: piece)
            let bytes = (pieces + (rest > 0 ? 1 : 0)).multipliedReportingOverflow(by: piece + 1536)
            let sum = total.addingReportingOverflow(bytes.partialValue)
            return bytes.overflow || sum.overflow ? .max : sum.partialValue
        }
    }
}

/// The metadata of a backup, but for what its writer adds. (Spec: xo-proxy §4.6.)
struct MetadataRecords: Sendable {
    let backup: MachineBackup
    let machine: ExportedMachine
    let mode: VMBackupMode
    /// The disks that are written: for deltas with the live disk and the base of each.
    let disks: [DiskPlan]

    func collect() async throws -> VMBackupMetadata {
        var json: JSONObject = [
            "version": "2.0.0", "mode": .string(mode.rawValue), "jobId": .string(backup.context.jobID),
            "scheduleId": .string(backup.context.scheduleID), "timestamp": .integer(machine.stamp),
            "vm": .object(MigrationGuard.withoutOurs(backup.vm.fields)),
            "vmSnapshot": .object(MigrationGuard.withoutOurs(machine.record)),
        ]
        guard mode == .delta else { return VMBackupMetadata(json) }
        json["includeNonNbdQcow2Fix"] = true
        json["vdis"] = .object(try await diskRecords())
        json["vbds"] = .object(try await attachmentRecords())
        json["vifs"] = .object(try await networkRecords())
        json["vtpms"] = .array(try await trustedModules())
        return VMBackupMetadata(json)
    }

    private var host: any XenHost { backup.host }

    private func diskRecords() async throws -> JSONObject {
        var storages: [String: JSONValue] = [:]
        var records = JSONObject()
        for plan in disks {
            var record = plan.disk.record
            if let storage = plan.disk.storage {
                if storages[storage] == nil {
                    try await host.unlessGone { storages[storage] = try await host.field("SR", storage, "uuid") }
                }
                record["$SR$uuid"] = storages[storage]
            }
            record["$snapshot_of$uuid"] = .string(plan.liveUUID)
            var marks = record["other_config"]?.objectValue ?? [:]
            marks[BackupMarkKey.baseDisk] = plan.base.map { .string($0.uuid) }
            marks[BackupMarkKey.vm] = .string(backup.vm.uuid)
            record["other_config"] = .object(marks)
            records[plan.disk.reference] = .object(record)
        }
        return records
    }

    /// All attachments but those of disks that are left out.
    private func attachmentRecords() async throws -> JSONObject {
        let written = Set(disks.map(\.disk.reference))
        return try await records("VBD", machine.record["VBDs"]) { record in
            guard record["type"]?.stringValue == "Disk", let disk = XenReference.of(record["VDI"]) else {
                return record
            }
            return written.contains(disk) ? record : nil
        }
    }

    private func networkRecords() async throws -> JSONObject {
        try await records("VIF", machine.record["VIFs"]) { record in
            var record = record
            guard let reference = XenReference.of(record["network"]) else { return record }
            try await host.unlessGone {
                let network = try await host.record("network", reference)
                record["$network$uuid"] = network["uuid"]
                record["$network$name_label"] = network["name_label"]
                record["$network$VLAN"] = .integer(try await vlan(of: network))
            }
            return record
        }
    }

    /// Of the network's first interface; -1 where it has none.
    private func vlan(of network: JSONObject) async throws -> Int64 {
        guard let interface = (network["PIFs"]?.arrayValue ?? []).lazy.compactMap({ XenReference.of($0) }).first else {
            return -1
        }
        return try await host.field("PIF", interface, "VLAN").wholeNumber ?? -1
    }

    private func trustedModules() async throws -> [JSONValue] {
        var contents: [JSONValue] = []
        for item in machine.record["VTPMs"]?.arrayValue ?? [] {
            guard let reference = XenReference.of(item) else { continue }
            contents.append(try await host.call("VTPM.get_contents", [.string(reference)]))
        }
        return contents
    }

    private func records(
        _ kind: String, _ references: JSONValue?, _ change: (JSONObject) async throws -> JSONObject?
    ) async throws -> JSONObject {
        var records = JSONObject()
        for item in references?.arrayValue ?? [] {
            guard let reference = XenReference.of(item) else { continue }
            try await host.unlessGone {
                if let record = try await change(try await host.record(kind, reference)) {
                    records[reference] = .object(record)
                }
            }
        }
        return records
    }
}

/// A disk as it will be transferred.
struct DiskPlan: Sendable {
    let disk: LiveDisk
    let liveUUID: String
    var base: LiveDisk?
    let isMemory: Bool
}

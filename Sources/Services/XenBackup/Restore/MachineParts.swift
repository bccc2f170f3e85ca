import BackupFormats
import XenAPI

/// What a delta backup is restored to: its records, sorted by what becomes of them.
struct MachineParts: Sendable {
    struct Disk: Sendable {
        /// Key in the backup: the reference at its time.
        let reference: String
        let record: JSONObject
        /// Uuid of the storage that takes it.
        let storage: String
    }

    let machine: JSONObject
    let disks: [Disk]
    /// The machine's memory; it is suspended then.
    let memory: Disk?
    /// There is a memory image that cannot be used, since hosts take a vTPM only into a halted machine.
    let isMemoryLeftOut: Bool
    let attachments: [JSONObject]
    let interfaces: [JSONObject]
    /// Contents of vTPMs.
    let trustedModules: [String]

    /// - Throws: ``BackupFailure`` of kind `corruptData` where the backup lacks a disk that it lists.
    init(_ metadata: VMBackupMetadata, _ settings: RestoreSettings) throws(BackupFailure) {
        machine = metadata.vmSnapshot ?? metadata.vm
        trustedModules = (metadata.json["vtpms"]?.arrayValue ?? []).compactMap(\.stringValue)
        let suspended = XenReference.of(machine["suspend_VDI"])
        var disks: [Disk] = []
        var memory: Disk?
        for member in metadata.vdis.members {
            guard let record = member.value.objectValue else {
                throw BackupFailure(.corruptData, "The backup has no record of the disk \(member.name)")
            }
            let isMemory = member.name == suspended
            guard let storage = isMemory ? settings.storage : settings.storage(of: record) else { continue }
            let disk = Disk(reference: member.name, record: record, storage: storage)
            if isMemory { memory = disk } else { disks.append(disk) }
        }
        isMemoryLeftOut = memory != nil && !trustedModules.isEmpty
        self.memory = isMemoryLeftOut ? nil : memory
        self.disks = disks
        let restored = Set(disks.map(\.reference))
        attachments = (metadata.json["vbds"]?.objectValue ?? [:]).members.compactMap(\.value.objectValue).filter {
            guard $0["type"]?.stringValue == "Disk" else { return true }
            return XenReference.of($0["VDI"]).map(restored.contains) ?? false
        }
        interfaces = (metadata.json["vifs"]?.objectValue ?? [:]).members.compactMap(\.value.objectValue)
    }

    var isSuspended: Bool { memory != nil }
}

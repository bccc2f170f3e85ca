package import BackupFormats
package import Logging
package import Tasks
package import XenAPI

/// Makes a new machine of a backup; never touches another one. (Spec: xo-proxy §2.5, §6.7.)
///
/// Whatever it has made is destroyed again where it fails or is cancelled.
package struct MachineRestore: Sendable {
    static let tag = "restored from backup"

    let settings: RestoreSettings
    /// What the administrator calls the remote; for the description of the machine.
    let remoteName: String
    let clock: TimeSource
    let logger: Logger

    package init(settings: RestoreSettings, remoteName: String, clock: TimeSource, logger: Logger) {
        self.settings = settings
        self.remoteName = remoteName
        self.clock = clock
        self.logger = logger
    }

    /// Restores below `task`, in a child `transfer` with the same result.
    ///
    /// - Returns: The uuid of the new machine, and the bytes read from the backup.
    package func restore(
        _ backup: any VMBackupReader, host: any XenHost, task: TaskNode
    ) async throws -> (id: String, size: Int64) {
        if settings.wantsDifferential {
            task.warning("useDifferentialRestore is not supported yet; the machine is restored from the backup alone")
        }
        let result = try await task.run("transfer", result: { (result: Restored) in result.json }) { node in
            let made = MadeObjects(host: host, logger: logger)
            do {
                let restored = try await self.restore(backup, host, node, made)
                try Task.checkCancellation()
                return restored
            } catch {
                await inAnyCase {
                    for problem in await made.destroyAll() { node.warning(problem) }
                }
                throw error
            }
        }
        return (result.id, result.size)
    }

    private struct Restored: Sendable {
        let id: String
        let size: Int64

        var json: JSONValue { ["id": .string(id), "size": .integer(size)] }
    }

    private func restore(
        _ backup: any VMBackupReader, _ host: any XenHost, _ task: TaskNode, _ made: MadeObjects
    ) async throws -> Restored {
        let machine: String
        let progress: RestoreProgress
        switch VMBackupMode(rawValue: backup.metadata.mode) {
        case .full: (machine, progress) = try await importWhole(backup, host, task, made)
        case .delta:
            let parts = try MachineParts(backup.metadata, settings)
            progress = RestoreProgress(task: task)
            machine = try await PartsRestore(restore: self, parts: parts, host: host, task: task, made: made)
                .run(backup, progress)
        case nil:
            throw BackupFailure(.unsupported, "backups of mode \(backup.metadata.mode) cannot be restored")
        }
        try await describe(machine, backup.metadata, host)
        let uuid = try await host.field("VM", machine, "uuid").stringValue ?? ""
        return Restored(id: uuid, size: Int64(clamping: progress.byteCount))
    }

    /// Mode full: the host makes the machine from the stream.
    private func importWhole(
        _ backup: any VMBackupReader, _ host: any XenHost, _ task: TaskNode, _ made: MadeObjects
    ) async throws -> (String, RestoreProgress) {
        if !settings.storages.isEmpty {
            task.warning("the disks of a full backup go to one storage together; mapVdisSrs is not used")
        }
        let storage = try await host.storage(settings.storage)
        let (stream, byteCount) = try await backup.xva()
        let progress = RestoreProgress(
            task: task, total: byteCount ?? backup.metadata.size.map { UInt64(clamping: $0) })
        let source = CountedSource(stream, progress)
        let machine = try await host.importMachine(into: storage, from: source, byteCount: byteCount)
        await made.add(machine: machine)
        try Task.checkCancellation()
        if try await host.field("VM", machine, "is_a_template").boolValue == true {
            try await host.setField("VM", machine, "is_a_template", false)
        }
        if settings.newMACAddresses { try await renewAddresses(machine, host) }
        try await removeMarks("VM", machine, host)
        for attachment in try await host.attachments(of: machine) {
            if let disk = attachment.disk { try await removeMarks("VDI", disk, host) }
        }
        return (machine, progress)
    }

    /// Gives a machine that the host imported network interfaces with addresses of their own.
    private func renewAddresses(_ machine: String, _ host: any XenHost) async throws {
        let seed = try RestoreFields.freshSeed()
        try await host.setOtherConfig("VM", machine, RestoreFields.addressSeed, seed)
        for item in try await host.field("VM", machine, "VIFs").arrayValue ?? [] {
            guard let old = XenReference.of(item) else { continue }
            var record = RestoreFields.interface.pick(from: try await host.record("VIF", old))
            record["MAC"] = ""
            _ = try await host.call("VIF.destroy", [.string(old)])
            _ = try await host.call("VIF.create", [.object(record)])
        }
    }

    private func removeMarks(_ kind: String, _ reference: String, _ host: any XenHost) async throws {
        for member in try await host.field(kind, reference, "other_config").objectValue?.members ?? []
        where RestoreFields.isRemoved(mark: member.name) {
            try await host.setOtherConfig(kind, reference, member.name, nil)
        }
    }

    /// Name, description and tags that tell where the machine comes from.
    private func describe(_ machine: String, _ metadata: VMBackupMetadata, _ host: any XenHost) async throws {
        let saved = metadata.vm["name_label"] ?? metadata.vmSnapshot?["name_label"]
        let name = "\(saved?.stringValue ?? "") (\(BackupDate.text(metadata.timestamp)))"
        let now = BackupDate.text(clock.nanoseconds() / 1_000_000)
        let old = metadata.vm["name_description"]?.stringValue ?? ""
        for tag in [Self.tag] + (settings.additionalTag.map { [$0] } ?? []) {
            _ = try await host.call("VM.add_tags", [.string(machine), .string(tag)])
        }
        try await host.setField(
            "VM", machine, "name_description", .string("Restored on \(now) from \(remoteName) - \(old)"))
        try await host.setField("VM", machine, "name_label", .string(name))
    }
}

/// `settings` and storage of `backup.importVmBackup`. (Spec: xo-proxy §2.5.)
package struct RestoreSettings: Sendable, Equatable {
    /// Uuid of the storage for disks that are not in `storages`.
    package var storage: String
    /// By the uuid of a disk (as listed, or of the live one), the uuid of its storage; nil: not restored.
    package var storages: [String: String?] = [:]
    package var newMACAddresses = false
    package var wantsDifferential = false
    package var additionalTag: String?

    package init(storage: String) { self.storage = storage }

    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    package init(_ parameters: JSONObject) throws(BackupFailure) {
        guard let storage = parameters["srUuid"]?.stringValue else {
            throw BackupFailure(.invalidInput, "the restore needs srUuid")
        }
        self.init(storage: storage)
        let settings = parameters["settings"]?.objectValue ?? [:]
        newMACAddresses = settings["newMacAddresses"]?.boolValue ?? false
        wantsDifferential = settings["useDifferentialRestore"]?.boolValue ?? false
        additionalTag = settings["additionalVmTag"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
        for member in settings["mapVdisSrs"]?.objectValue?.members ?? [] {
            if member.value.isNull {
                storages[member.name] = .some(nil)
            } else if let storage = member.value.stringValue {
                storages[member.name] = storage
            } else {
                throw BackupFailure(
                    .invalidInput, "mapVdisSrs of the restore must name a storage or null for each disk")
            }
        }
    }

    /// Where a disk goes; nil: nowhere.
    func storage(of disk: JSONObject) -> String? {
        for name in ["uuid", "$snapshot_of$uuid"] {
            if let uuid = disk[name]?.stringValue, let choice = storages[uuid] { return choice }
        }
        return storage
    }
}

extension XenHost {
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where the pool has no storage of that uuid.
    func storage(_ uuid: String) async throws -> String {
        do {
            return try await reference("SR", uuid: uuid)
        } catch let failure as XenFailure where failure.code == "UUID_INVALID" {
            throw BackupFailure(.noSuchObject, "The pool has no storage \(uuid)", cause: failure)
        }
    }
}

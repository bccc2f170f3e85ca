package import BackupFormats

extension XenHost {
    /// Takes a snapshot of a machine without some of its disks.
    ///
    /// Hosts that cannot leave disks out take them too; they are destroyed at once. (Spec: xo-proxy §6.4.)
    ///
    /// - Parameter ignored: References of live disks.
    /// - Returns: The snapshot's reference.
    package func snapshotMachine(_ machine: String, name: String, ignoring ignored: [String] = []) async throws
        -> String
    {
        guard !ignored.isEmpty else { return try await run("VM.snapshot", [.string(machine), .string(name)]) }
        do {
            return try await run(
                "VM.snapshot", [.string(machine), .string(name), .array(ignored.map { .string($0) })])
        } catch let failure as XenFailure where failure.code == "MESSAGE_PARAMETER_COUNT_MISMATCH" {
            let snapshot = try await run("VM.snapshot", [.string(machine), .string(name)])
            do {
                try await uncancelled { try await self.dropDisks(of: snapshot, copiedFrom: Set(ignored)) }
            } catch {
                try? await uncancelled { try await self.destroyMachine(snapshot) }
                throw error
            }
            return snapshot
        }
    }

    /// Takes a snapshot with memory; of a machine that does not run, a plain one.
    package func checkpointMachine(
        _ machine: String, name: String, ignoring ignored: [String] = []
    ) async throws -> String {
        guard ignored.isEmpty else { return try await snapshotMachine(machine, name: name, ignoring: ignored) }
        do {
            return try await run("VM.checkpoint", [.string(machine), .string(name)])
        } catch let failure as XenFailure where failure.code == "VM_BAD_POWER_STATE" {
            return try await snapshotMachine(machine, name: name)
        }
    }

    private func dropDisks(of snapshot: String, copiedFrom originals: Set<String>) async throws {
        for attachment in try await attachments(of: snapshot) {
            guard let disk = attachment.disk,
                let original = XenReference.of(try await field("VDI", disk, "snapshot_of")),
                originals.contains(original)
            else { continue }
            try await unlessGone { _ = try await call("VBD.destroy", [.string(attachment.reference)]) }
            try await destroyDisk(disk)
        }
    }

    /// How a machine holds its disks: VBDs of type `Disk`.
    package func attachments(of machine: String) async throws -> [XenAttachment] {
        var result: [XenAttachment] = []
        for item in try await field("VM", machine, "VBDs").arrayValue ?? [] {
            guard let reference = XenReference.of(item) else { continue }
            try await unlessGone {
                let fields = try await record("VBD", reference)
                guard fields["type"]?.stringValue == "Disk" else { return }
                result.append(XenAttachment(reference: reference, fields: fields))
            }
        }
        return result
    }

    /// Destroys a machine or snapshot with its disks, its memory image and its snapshots. What is gone already is no
    /// error; disks that other machines use stay, the control domain's use does not count. (Spec: xo-proxy §6.4, §6.8.)
    package func destroyMachine(_ machine: String) async throws {
        var found: JSONObject?
        try await unlessGone { found = try await record("VM", machine) }
        guard let fields = found else { return }
        guard fields["is_control_domain"]?.boolValue != true, !isDefaultTemplate(fields) else {
            throw BackupFailure(.conflict, "A control domain or a default template is never destroyed")
        }
        if fields["is_a_template"]?.boolValue == true { try await setField("VM", machine, "is_a_template", false) }
        if fields["blocked_operations"]?["destroy"] != nil {
            _ = try await call("VM.remove_from_blocked_operations", [.string(machine), "destroy"])
        }
        if let state = fields["power_state"]?.stringValue, state != "Halted" {
            _ = try await run("VM.hard_shutdown", [.string(machine)])
        }
        var disks = try await attachments(of: machine).compactMap(\.disk)
        if let memory = XenReference.of(fields["suspend_VDI"]) { disks.append(memory) }
        try await unlessGone { _ = try await run("VM.destroy", [.string(machine)]) }
        for snapshot in fields["snapshots"]?.arrayValue ?? [] {
            if let snapshot = XenReference.of(snapshot) { try await destroyMachine(snapshot) }
        }
        var firstFailure: (any Error)?
        for disk in Set(disks).sorted() {
            do {
                if try await isFree(disk) { try await destroyDisk(disk) }
            } catch {
                firstFailure = firstFailure ?? error
            }
        }
        if let firstFailure { throw firstFailure }
    }

    private func isDefaultTemplate(_ fields: JSONObject) -> Bool {
        fields["is_default_template"]?.boolValue == true
            || fields["other_config"]?["default_template"]?.stringValue == "true"
    }

    /// Whether no machine but a control domain holds the disk.
    private func isFree(_ disk: String) async throws -> Bool {
        var result = true
        try await unlessGone {
            for item in try await field("VDI", disk, "VBDs").arrayValue ?? [] {
                guard let attachment = XenReference.of(item) else { continue }
                try await unlessGone {
                    guard let machine = XenReference.of(try await field("VBD", attachment, "VM")) else { return }
                    if try await field("VM", machine, "is_control_domain").boolValue != true { result = false }
                }
            }
        }
        return result
    }

    /// Destroys a disk. One that is gone is no error; one that a control domain holds is taken from it, and one that is
    /// in use for a moment is tried again.
    package func destroyDisk(_ disk: String, limits: XenLimits = XenLimits()) async throws {
        for attempt in 1... {
            do {
                try await unlessGone { _ = try await run("VDI.destroy", [.string(disk)]) }
                return
            } catch let failure as XenFailure where failure.code == "VDI_IN_USE" && attempt < limits.inUseTries {
                try await releaseFromControlDomain(disk)
                try await Task.sleep(for: attempt == 1 ? .zero : limits.inUsePause)
            }
        }
    }

    private func releaseFromControlDomain(_ disk: String) async throws {
        for item in try await field("VDI", disk, "VBDs").arrayValue ?? [] {
            guard let attachment = XenReference.of(item) else { continue }
            try await unlessGone {
                guard let machine = XenReference.of(try await field("VBD", attachment, "VM")),
                    try await field("VM", machine, "is_control_domain").boolValue == true
                else { return }
                if try await field("VBD", attachment, "currently_attached").boolValue == true {
                    _ = try await call("VBD.unplug", [.string(attachment)])
                }
                _ = try await call("VBD.destroy", [.string(attachment)])
            }
        }
    }
}

/// How a machine holds a disk.
package struct XenAttachment: Sendable {
    package let reference: String
    package let fields: JSONObject

    /// The disk; nil for an empty drive.
    package var disk: String? { XenReference.of(fields["VDI"]) }
}

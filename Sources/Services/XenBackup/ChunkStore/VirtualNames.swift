import BackupFormats

/// The paths by which Xen Orchestra names backups that lie in a datastore: those of the classic layout, though there are
/// no such files. (Spec: xo-proxy §10.2, §4.5, §4.8.)
enum VirtualNames {
    private static let machines = "xo-vm-backups"

    // MARK: Dates

    /// `YYYYMMDDTHHmmssZ`.
    static func date(_ seconds: Int64) -> String {
        BackupTime.text(seconds).filter { $0 != "-" && $0 != ":" }
    }

    static func seconds(_ date: some StringProtocol) -> Int64? {
        let text = Array(date)
        guard text.count == 16 else { return nil }
        func part(_ range: Range<Int>) -> String { String(text[range]) }
        return BackupTime.parse(
            "\(part(0..<4))-\(part(4..<6))-\(part(6..<8))T\(part(9..<11)):\(part(11..<13)):\(part(13..<16))"
        ).flatMap { text[8] == "T" ? $0 : nil }
    }

    // MARK: Machines

    static func group(ofMachine uuid: String) throws -> BackupGroup {
        guard let group = BackupGroup(type: .vm, id: uuid) else {
            throw BackupFailure(.invalidInput, "'\(uuid)' cannot be the id of a backup group")
        }
        return group
    }

    static func backupID(_ snapshot: SnapshotName) -> String {
        "/\(machines)/\(snapshot.group.id)/\(date(snapshot.time)).json"
    }

    /// The snapshot that a listing calls so, with or without the slash in front; nil where no backup can be called so.
    static func snapshot(ofBackup id: String) -> SnapshotName? {
        let parts = id.split(separator: "/")
        guard parts.count == 3, parts[0] == machines, parts[2].hasSuffix(".json"),
            let group = BackupGroup(type: .vm, id: String(parts[1])), let time = seconds(parts[2].dropLast(5))
        else { return nil }
        return SnapshotName(group: group, time: time)
    }

    /// A disk's path relative to its metadata.
    static func disk(_ disk: VMBackupDisk, jobID: String, _ snapshot: SnapshotName) -> String {
        "vdis/\(jobID)/\(disk.liveUUID)/\(date(snapshot.time)).vhd"
    }

    // MARK: Metadata

    private static let orchestraPrefix = "xo-config-"
    private static let poolPrefix = "pool-"
    /// Characters of a UUID.
    private static let uuidCount = 36

    static func group(_ kind: MetadataKind, scheduleID: String, poolUUID: String?) throws -> BackupGroup {
        let id =
            switch kind {
            case .orchestra: orchestraPrefix + scheduleID
            case .pool: "\(poolPrefix)\(scheduleID)-\(poolUUID ?? "")"
            }
        guard let group = BackupGroup(type: .host, id: id), kind == .orchestra || poolUUID?.count == uuidCount else {
            throw BackupFailure(.invalidInput, "'\(id)' cannot be the id of a backup group")
        }
        return group
    }

    /// `/xo-config-backups/<schedule>/<date>` or `/xo-pool-metadata-backups/<schedule>/<pool>/<date>`; nil where the
    /// group holds no backups of that kind.
    static func metadataID(_ kind: MetadataKind, _ snapshot: SnapshotName) -> String? {
        let id = snapshot.group.id
        guard snapshot.group.type == .host else { return nil }
        switch kind {
        case .orchestra:
            guard id.hasPrefix(orchestraPrefix) else { return nil }
            return "/\(kind.rawValue)/\(id.dropFirst(orchestraPrefix.count))/\(date(snapshot.time))"
        case .pool:
            let rest = id.dropFirst(poolPrefix.count)
            guard id.hasPrefix(poolPrefix), rest.count > uuidCount + 1 else { return nil }
            let schedule = rest.dropLast(uuidCount + 1)
            return "/\(kind.rawValue)/\(schedule)/\(rest.suffix(uuidCount))/\(date(snapshot.time))"
        }
    }

    /// The snapshot that a listing calls so, with or without the slash in front.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the id has not the form of §2.5.
    static func snapshot(ofMetadata id: String) throws -> SnapshotName {
        let parts = id.split(separator: "/").map { String($0) }
        guard let kind = parts.first.flatMap(MetadataKind.init(rawValue:)),
            parts.count == (kind == .orchestra ? 3 : 4), let time = parts.last.flatMap({ seconds($0) }),
            let group = try? group(kind, scheduleID: parts[1], poolUUID: kind == .pool ? parts[2] : nil),
            let snapshot = SnapshotName(group: group, time: time)
        else { throw BackupFailure(.invalidInput, "'\(id)' is no id of a metadata backup") }
        return snapshot
    }
}

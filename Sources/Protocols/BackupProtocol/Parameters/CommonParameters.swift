package import BackupFormats

/// Types of parameters that sessions and the REST API share. (Spec: protocol A.3, B.)
extension ParameterType {
    /// 64 lower-case hexadecimal digits.
    package static let digest = pattern { ChunkDigest(parsing: $0) != nil }
    /// The id of an index writer of a session.
    package static let writerID = integer(1...Int64(SessionLimits.writers))
    /// The name of an archive or file in a snapshot; its ending is checked by the call.
    package static let fileName = pattern { SafeID.isValid($0) && $0.utf8.count <= 255 }
    /// A datastore's name.
    package static let datastore = pattern(3...32) { SafeID.isValid($0) }
    /// Text that can be a namespace. One component more than ``Namespace`` takes passes here and is refused there,
    /// with its own text.
    package static let namespace = pattern(0...Namespace.maxLength) { text in
        text.isEmpty
            || {
                let parts = text.split(separator: "/", omittingEmptySubsequences: false)
                return parts.count <= Namespace.maxDepth + 1 && parts.allSatisfy { SafeID.isValid($0) }
            }()
    }
    package static let backupType = oneOf(BackupType.allCases.map(\.rawValue))
    package static let backupID = pattern { SafeID.isValid($0) && $0.utf8.count <= 255 }
    /// Unix seconds.
    package static let backupTime = integer(1...253_402_300_799)
    package static let authID = pattern(3...64) { AuthID(parsing: $0) != nil }
}

extension ParameterValues {
    /// The namespace of parameter `name`; the root where it is absent.
    ///
    /// - Throws: ``ParameterFailure`` without a parameter's name where it is too deep.
    package func namespace(_ name: String = "ns") throws(ParameterFailure) -> Namespace {
        do {
            return try Namespace(parsing: stringIfPresent(name) ?? "")
        } catch {
            throw ParameterFailure(unreadable: "\(error)")
        }
    }

    /// The group of `backup-type` and `backup-id`.
    package func group() throws(ParameterFailure) -> BackupGroup {
        let id = try string("backup-id")
        guard let type = BackupType(rawValue: try string("backup-type")), let group = BackupGroup(type: type, id: id)
        else {
            throw ParameterFailure(name: "backup-id", reason: "value does not match the regex pattern")
        }
        return group
    }

    /// The snapshot of `backup-type`, `backup-id` and `backup-time`.
    package func snapshot() throws(ParameterFailure) -> SnapshotName {
        let time = try integer("backup-time")
        guard let name = SnapshotName(group: try group(), time: time) else {
            throw ParameterFailure(name: "backup-time", reason: "value is no possible time (got \(time))")
        }
        return name
    }
}

import BackupFormats

/// All methods of the proxy, and those that it knows of but does not have.
enum Methods {
    static let all: [Method] = system + tasks + remotes + backups + appliance + tests

    private static let byName = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

    /// Methods of features that are not built.
    static let missing: [String: String] = [
        "backup.listDiskPartitions": "file-level restore", "backup.listPartitionFiles": "file-level restore",
        "backup.fetchPartitionFiles": "file-level restore", "backup.mountPartition": "file-level restore",
        "backup.unmountPartition": "file-level restore",
    ]

    /// - Throws: ``RPCFailure`` of code −32601 where there is none of that name.
    static func named(_ name: String) throws -> Method {
        guard let method = byName[name] else { throw RPCFailure.unknownMethod(name, feature: missing[name]) }
        return method
    }
}

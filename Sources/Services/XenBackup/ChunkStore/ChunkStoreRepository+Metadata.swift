import BackupClient
import BackupFormats
import BackupProtocol
import Logging

/// Backups of the configuration of Xen Orchestra and of the databases of pools. (Spec: xo-proxy §10.2.)
extension ChunkStoreRepository {
    /// Data up to here is a blob.
    private static let blobLimit = 8 << 20
    private static let pieceBytes = 1 << 20

    func metadataBackups(_ kind: MetadataKind) async throws -> [JSONObject] {
        let snapshots = try await connection.snapshots(.host).filter {
            $0.has(XenArchive.description) && VirtualNames.metadataID(kind, $0.name) != nil
        }
        let found = zip(snapshots, try await object(XenArchive.description, of: snapshots))
        return found.compactMap { snapshot, object -> (Int64, JSONObject)? in
            guard var object, let id = VirtualNames.metadataID(kind, snapshot.name) else { return nil }
            object["id"] = .string(id)
            return (object["timestamp"]?.intValue ?? snapshot.name.time * 1000, object)
        }.sorted { $0.0 < $1.0 }.map(\.1)
    }

    func writeMetadataBackup(_ backup: MetadataBackup) async throws {
        let group = try VirtualNames.group(backup.kind, scheduleID: backup.scheduleID, poolUUID: backup.poolUUID)
        let lock = try await stores.locks.take("\(connection.address) \(group)", patience: stores.lockPatience)
        defer { lock.release() }
        let (snapshot, transport) = try await openSession(of: group, at: backup.timestamp / 1000)
        let upload = SnapshotUpload(
            snapshot, transport: transport, protection: .none, memoryLimit: ChunkStoreWriter.memoryLimit)
        do {
            try await upload.loadPrevious()
            try await send(backup, upload)
            let description = Array(JSONValue.object(backup.metadata).prettyText.utf8)
            try await upload.sendBlob(XenArchive.description, content: description)
            _ = try await upload.finish()
        } catch {
            await transport.close()
            throw error
        }
        await transport.close()
        try await dropOld(of: group, keeping: max(1, backup.retention))
    }

    private func dropOld(of group: BackupGroup, keeping count: Int) async throws {
        let backups = try await connection.snapshots(of: group).filter { $0.has(XenArchive.description) }
        for old in backups.dropLast(count) where !old.isProtected {
            do {
                try await remove(old.name)
            } catch let failure as BackupFailure where failure.kind == .conflict {
                stores.logger.notice(
                    "an old backup stays until the next run",
                    metadata: ["snapshot": "\(old.name)", "reason": "\(failure)"])
            }
        }
    }

    private func send(_ backup: MetadataBackup, _ upload: SnapshotUpload) async throws {
        let isText = backup.dataName.hasSuffix(".json")
        var head: [UInt8] = []
        var isWhole = false
        while head.count <= Self.blobLimit {
            guard let piece = try await backup.data.read(upTo: Self.pieceBytes) else {
                isWhole = true
                break
            }
            head += piece
        }
        if isWhole, backup.kind == .orchestra || head.isEmpty {
            return try await upload.sendBlob(isText ? XenArchive.dataText : XenArchive.data, content: head)
        }
        _ = try await upload.sendStream(
            isText ? XenArchive.longDataText : XenArchive.longData, head: head, from: backup.data)
    }

    func readMetadataBackup(_ id: String) async throws
        -> (metadata: JSONObject, dataName: String, data: any ByteSource)
    {
        let name = try VirtualNames.snapshot(ofMetadata: id)
        let found = try await connection.snapshots(of: name.group).filter { $0.name == name }
        guard let snapshot = found.first, let metadata = try await object(XenArchive.description, of: [snapshot])[0]
        else { throw BackupFailure(.notFound, "There is no backup \(id) in \(connection.address.label)") }
        for (archive, dataName) in [(XenArchive.dataText, "data.json"), (XenArchive.data, "data")]
        where snapshot.has(archive) {
            guard let data = try await contents(archive, of: [snapshot])[0] else {
                throw BackupFailure(.corruptData, "The data of the backup \(id) cannot be read")
            }
            return (metadata, dataName, BytesSource(data))
        }
        let isText = snapshot.has(XenArchive.longDataText)
        let archive = isText ? XenArchive.longDataText : XenArchive.longData
        let transport = try await connection.openReader(name)
        do {
            let download = try await SnapshotDownload.open(name, transport: transport, key: nil)
            guard let file = download.manifest.file(archive) else {
                throw BackupFailure(.corruptData, "The backup \(id) has no data")
            }
            let data = ArchiveStream(try await download.openImage(file)) { await transport.close() }
            return (metadata, isText ? "data.json" : "data", data)
        } catch {
            await transport.close()
            throw error
        }
    }

    func deleteMetadataBackup(_ id: String) async throws { try await remove(VirtualNames.snapshot(ofMetadata: id)) }

    // MARK: Sessions

    /// How often a time is chosen anew where another server was faster.
    private static let attempts = 5

    /// Opens a backup session whose time is after all snapshots of its group. (Decision 10.)
    func openSession(
        of group: BackupGroup, at wanted: Int64, base: SnapshotName? = nil
    ) async throws -> (SnapshotName, any BackupTransport) {
        var attempt = 1
        while true {
            let newest = try await connection.snapshots(of: group).last?.name.time ?? 0
            guard let snapshot = SnapshotName(group: group, time: max(wanted, newest + 1)) else {
                throw BackupFailure(.invalidInput, "\(wanted) is no time of a backup")
            }
            do {
                return (snapshot, try await connection.openBackup(snapshot, base: base))
            } catch let failure as BackupFailure where failure.kind == .invalidInput && attempt < Self.attempts {
                let now = try await connection.snapshots(of: group).last?.name.time ?? 0
                guard now != newest else { throw failure }
                attempt += 1
            }
        }
    }
}

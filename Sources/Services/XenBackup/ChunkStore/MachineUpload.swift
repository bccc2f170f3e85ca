import BackupClient
import BackupFormats

/// Brings the export of a machine into a snapshot.
struct MachineUpload: Sendable {
    let upload: SnapshotUpload
    let stores: ChunkStores

    /// - Returns: Bytes taken.
    func run(_ xva: any ByteSource) async throws -> UInt64 {
        try await upload.sendStream(XenArchive.stream, from: xva).size
    }
}

import BackupFormats
import VirtualDisks

extension XenBackups {
    /// Reads the beginning of a disk's export.
    static func openDisk(_ export: any ByteSource) async throws -> any DiskSource {
        try await VHDReader.open(export)
    }
}

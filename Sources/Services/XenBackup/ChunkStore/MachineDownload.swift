import BackupClient
import BackupFormats
import VirtualDisks

/// The export of a machine, made anew from its description and its disks.
struct MachineDownload: Sendable {
    let download: SnapshotDownload
    let metadata: VMBackupMetadata

    func stream() async throws -> (stream: any ByteSource, byteCount: UInt64?) {
        let snapshot = download.manifest.snapshot
        guard let description = download.manifest.file(XenArchive.machine) else {
            throw BackupFailure(.notFound, "The backup \(snapshot) has no export of a machine")
        }
        var disks: [XVAExport.Disk] = []
        for member in metadata.json["chunkStore"]?["archives"]?.objectValue?.members ?? [] {
            guard let archive = member.value.stringValue.flatMap({ ArchiveName($0) }),
                let file = download.manifest.file(archive)
            else { throw BackupFailure(.corruptData, "The backup \(snapshot) has not the disk \(member.name)") }
            disks.append(XVAExport.Disk(id: member.name, content: ImageView(image: try await download.openImage(file))))
        }
        let export = try await XVAExport.open(description: try await download.blob(description), disks: disks)
        return (export, export.byteCount)
    }
}

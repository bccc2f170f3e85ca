import BackupFormats
import Synchronization
import VirtualDisks

/// A backup in the classic layout, open for reading. It needs no lock: what a clean removes or merges meanwhile stays
/// readable through the files that are open.
final class ClassicReader: VMBackupReader {
    let metadata: VMBackupMetadata
    private let repository: ClassicRepository
    private let folder: MachineFolder
    private let disks = Mutex<[DiskChain]>([])
    private let isReading = Mutex(false)

    init(repository: ClassicRepository, folder: MachineFolder, metadata: VMBackupMetadata) {
        self.repository = repository
        self.folder = folder
        self.metadata = metadata
    }

    func xva() async throws -> (stream: any ByteSource, byteCount: UInt64?) {
        guard let path = folder.dataPath(of: metadata) else {
            throw BackupFailure(.corruptData, "The metadata of this backup of \(folder.vm) names no XVA")
        }
        let size = try await folder.files.size(of: path)
        return (try await folder.files.stream(path), size)
    }

    func disk(_ reference: String) async throws -> any DiskView {
        guard let relative = metadata.vhds[reference]?.stringValue,
            let path = ClassicPath.resolve(relative, in: folder.path, within: folder.path)
        else { throw BackupFailure(.notFound, "This backup of \(folder.vm) has no disk \(reference)") }
        guard folder.files.capabilities.isFileSystem else {
            throw BackupFailure(.unsupported, "Disks of delta backups on object stores are not supported yet")
        }
        if isReading.withLock({ was in
            defer { was = true }; return !was
        }) {
            try await repository.gate.beginReading(folder.vm)
        }
        let chain = try await DiskChain.open(path, in: folder)
        disks.withLock { $0.append(chain) }
        return chain.view
    }

    func close() async {
        for chain in disks.withLock({ disks in
            defer { disks = [] }; return disks
        }) { await chain.close() }
        if isReading.withLock({ was in
            defer { was = false }; return was
        }) {
            repository.gate.endReading(folder.vm)
        }
    }
}

import BackupClient
import BackupFormats
import BackupProtocol
import VirtualDisks

/// One backup of a machine in a datastore, held by a reader session so that nobody removes it.
final class ChunkStoreReader: VMBackupReader {
    let metadata: VMBackupMetadata
    private let download: SnapshotDownload
    private let transport: any BackupTransport

    init(_ metadata: VMBackupMetadata, _ download: SnapshotDownload, _ transport: any BackupTransport) {
        self.metadata = metadata
        self.download = download
        self.transport = transport
    }

    func disk(_ reference: String) async throws -> any DiskView {
        guard
            let archive = metadata.json["chunkStore"]?["archives"]?[reference]?.stringValue.flatMap({ ArchiveName($0) }
            ),
            let file = download.manifest.file(archive)
        else {
            throw BackupFailure(.notFound, "The backup \(download.manifest.snapshot) has no disk \(reference)")
        }
        return ImageView(image: try await download.openImage(file))
    }

    func xva() async throws -> (stream: any ByteSource, byteCount: UInt64?) {
        if let file = download.manifest.file(XenArchive.stream) {
            return (ArchiveStream(try await download.openImage(file)), file.size)
        }
        return try await MachineDownload(download: download, metadata: metadata).stream()
    }

    func close() async { await transport.close() }
}

/// An image of a datastore as a disk.
struct ImageView: DiskView {
    private static let blocksPerChunk = 2

    let image: ImageReader

    var size: UInt64 { image.size }

    /// Those that lie in chunks which are not all zeros.
    func presentBlocks() async throws -> [Int] {
        let count = DiskGeometry.blockCount(size)
        var blocks: [Int] = []
        for place in 0..<image.chunkCount where !image.isZero(place) {
            for index in place * Self.blocksPerChunk..<min(count, (place + 1) * Self.blocksPerChunk) {
                blocks.append(index)
            }
        }
        return blocks
    }

    func block(_ index: Int) async throws -> [UInt8] {
        guard index >= 0, index < DiskGeometry.blockCount(size) else {
            throw BackupFailure(.invalidInput, "A disk of \(size) bytes has no block \(index)")
        }
        let chunk = try await image.chunk(index / Self.blocksPerChunk)
        let start = index % Self.blocksPerChunk * DiskGeometry.blockBytes
        let part = chunk[start..<min(chunk.count, start + DiskGeometry.blockBytes)]
        if part.count == DiskGeometry.blockBytes { return Array(part) }
        return Array(part) + [UInt8](repeating: 0, count: DiskGeometry.blockBytes - part.count)
    }
}

/// An archive of a snapshot, from its first byte to its last.
actor ArchiveStream: ByteSource {
    private let archive: ImageReader
    private var place = 0
    private var rest: ArraySlice<UInt8> = []
    private let atEnd: @Sendable () async -> Void

    /// - Parameter atEnd: Done once, when the last byte has been given.
    init(_ archive: ImageReader, atEnd: @escaping @Sendable () async -> Void = {}) {
        self.archive = archive
        self.atEnd = atEnd
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        while rest.isEmpty {
            guard place < archive.chunkCount else {
                await atEnd()
                return nil
            }
            rest = try await archive.chunk(place)[...]
            place += 1
        }
        let piece = rest.prefix(maxBytes)
        rest = rest.dropFirst(piece.count)
        return Array(piece)
    }
}

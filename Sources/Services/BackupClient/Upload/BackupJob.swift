package import BackupFormats
package import Chunking
import Platform

/// What happens while a backup runs, for those who show it.
package enum BackupEvent: Sendable {
    case began(BackupSource)
    /// - size: Bytes of the archive.
    case ended(BackupSource, size: UInt64)
    /// An entry that was left out, or taken as well as could be.
    case warning(String)
}

/// A whole backup: all its archives, one after the other, and the catalog beside them.
package struct BackupJob: Sendable {
    /// Pieces of the catalog that may wait.
    private static let catalogLimit = 64

    package var sources: [BackupSource]
    package var treeOptions = TreeArchiveOptions()
    /// Cuts folders; images are always cut into 4 MiB.
    package var chunker: Chunker

    package init(sources: [BackupSource], chunker: Chunker) {
        self.sources = sources
        self.chunker = chunker
    }

    /// Sends everything and finishes the snapshot.
    ///
    /// - Parameter report: Called from several threads.
    @discardableResult
    package func run(
        _ upload: SnapshotUpload, report: @escaping @Sendable (BackupEvent) -> Void
    ) async throws -> Manifest {
        if sources.contains(where: \.needsCatalog) {
            try await runWithCatalog(upload, report: report)
        } else {
            for source in sources { try await send(source, upload, catalog: nil, report: report) }
        }
        return try await upload.finish()
    }

    /// The catalog is sent while the archives are, as one more stream.
    private func runWithCatalog(
        _ upload: SnapshotUpload, report: @escaping @Sendable (BackupEvent) -> Void
    ) async throws {
        guard let chunker = Chunker(averageSize: Chunker.catalogAverageSize) else {
            throw BackupFailure(.internalFault, "The catalog's chunk size is not defined")
        }
        let stream = try await upload.beginStream(.catalog)
        let catalog = CatalogStream(carrier: stream, bytes: Channel(limit: Self.catalogLimit))
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = try await upload.sendStream(stream, chunker: chunker) { sink in
                        while let bytes = try catalog.bytes.nextBlocking() { try sink.write(bytes) }
                    }
                }
                group.addTask {
                    for source in sources { try await send(source, upload, catalog: catalog, report: report) }
                    try await catalog.finish()
                }
                do {
                    while try await group.next() != nil {}
                } catch {
                    catalog.bytes.fail(error)
                    upload.engine.abort(error)
                    throw error
                }
            }
        } catch {
            throw upload.engine.firstFailure ?? error
        }
    }

    private func send(
        _ source: BackupSource, _ upload: SnapshotUpload, catalog: CatalogStream?,
        report: @escaping @Sendable (BackupEvent) -> Void
    ) async throws {
        report(.began(source))
        let size: UInt64
        switch (source.content, catalog) {
        case (.tree(let path), let catalog?):
            size = try await sendTree(path, as: source.archive, upload, catalog, report)
        case (.stream(let descriptor), let catalog?):
            size = try await upload.sendImage(source.archive, through: catalog.carrier) { sink in
                try Self.copy(descriptor, into: sink)
            }.size
        case (.image(let path), _):
            size = try await upload.sendImage(source.archive, try ImageFile(path)).size
        case (.blob(let path), _):
            let content = try Self.readBlob(path)
            try await upload.sendBlob(source.archive, content: content)
            size = UInt64(content.count)
        case (.tree, nil), (.stream, nil):
            throw BackupFailure(.internalFault, "\(source.archive) needs a catalog, and there is none")
        }
        report(.ended(source, size: size))
    }

    private func sendTree(
        _ path: String, as archive: ArchiveName, _ upload: SnapshotUpload, _ catalog: CatalogStream,
        _ report: @escaping @Sendable (BackupEvent) -> Void
    ) async throws -> UInt64 {
        // A folder that is not there fails before the server hears of the archive.
        _ = try TreeArchiver(root: path, options: treeOptions)
        let stream = try await upload.beginStream(archive)
        return try await upload.sendStream(stream, chunker: chunker) { [treeOptions] sink in
            let archiver = try TreeArchiver(root: path, options: treeOptions)
            _ = try catalog.withWriter { writer in
                try archiver.run(
                    catalog: &writer, archiveName: archive.name, warn: { report(.warning($0.description)) },
                    consumeCatalog: { try catalog.bytes.pushBlocking($0) }, consume: { try sink.write($0) })
            }
        }.size
    }

    /// Bytes that a stream is read in.
    private static let pieceSize = 1 << 20

    private static func copy(_ descriptor: Int32, into sink: ChunkSink) throws {
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceSize, alignment: 4096)
        defer { piece.deallocate() }
        while true {
            let count: Int
            do { count = try StandardStreams.read(descriptor, into: piece) } catch {
                throw error.failure("Standard input cannot be read")
            }
            if count == 0 { return }
            try sink.write(UnsafeRawBufferPointer(rebasing: piece[..<count]))
        }
    }

    private static func readBlob(_ path: String) throws -> [UInt8] {
        do { return try FileSystem.read(path, limit: BlobLimits.maxChunkContent) } catch {
            throw error.failure("The file \(path) cannot be read as a whole (16 MiB at most)")
        }
    }
}

extension BackupSource {
    /// Whether the snapshot gets a catalog for it. (A stream travels as part of the catalog's until its length is known.)
    fileprivate var needsCatalog: Bool {
        switch content {
        case .tree, .stream: true
        case .image, .blob: false
        }
    }
}

/// The catalog while it grows: its writer, which one archive at a time uses, and its bytes on their way out.
private final class CatalogStream: Sendable {
    let carrier: IndexUpload
    let bytes: Channel<[UInt8]>
    private let writer = Monitor(CatalogWriter())

    init(carrier: IndexUpload, bytes: Channel<[UInt8]>) {
        self.carrier = carrier
        self.bytes = bytes
    }

    /// For one archive's whole run; archives follow each other.
    func withWriter<Value>(_ body: (inout CatalogWriter) throws -> Value) throws -> Value {
        var taken = writer.withLock { $0 }
        defer { writer.withLock { $0 = taken } }
        return try body(&taken)
    }

    func finish() async throws {
        let rest = try writer.withLock { writer in
            try writer.finish()
            return writer.takeOutput()
        }
        try await bytes.push(rest)
        bytes.finish()
    }
}

import BackupFormats
import BackupServer
import Datastore
import Platform
import Pxar

/// An archive of files of a snapshot, legacy (`.pxar`) or split into metadata (`.mpxar`) and contents (`.ppxar`).
struct FileArchive: Sendable {
    typealias Reader = PxarReader<ArchiveContent>

    /// Bytes of a file, somewhere in an archive.
    struct Content: Sendable {
        var source: ArchiveContent
        var range: Range<UInt64>
    }

    private static let metadataEnding = ".mpxar.didx"
    private static let payloadEnding = ".ppxar.didx"
    private static let legacyEnding = ".pxar.didx"

    let name: ArchiveName
    let reader: Reader
    /// The contents of a split archive.
    private let payload: ArchiveContent?

    /// Whether a file of a snapshot is an archive that can be looked into.
    static func isArchive(_ name: String) -> Bool { name.hasSuffix(metadataEnding) || name.hasSuffix(legacyEnding) }

    /// - Throws: ``BackupFailure``: `invalidInput` where it is no archive of files, or encrypted; `noSuchObject` where
    ///   there is none; ``FormatError`` where it is damaged.
    static func open(
        _ name: ArchiveName, in store: Datastore, of hold: SnapshotReader, workers: WorkerPool
    ) async throws -> FileArchive {
        guard isArchive(name.name) else {
            throw BackupFailure(.invalidInput, "\(name) is not an archive of files")
        }
        let (metadata, payload) = try await workers.run {
            let manifest = try hold.manifest()
            let metadata = try content(name, manifest, store, hold, workers)
            guard name.name.hasSuffix(metadataEnding) else { return (metadata, nil as ArchiveContent?) }
            let stem = name.name.dropLast(metadataEnding.count)
            guard let payload = ArchiveName("\(stem)\(payloadEnding)") else {
                throw BackupFailure(.invalidInput, "\(name) has no second half")
            }
            return (metadata, try content(payload, manifest, store, hold, workers))
        }
        return FileArchive(name: name, reader: try await PxarReader(metadata), payload: payload)
    }

    private static func content(
        _ name: ArchiveName, _ manifest: Manifest, _ store: Datastore, _ hold: SnapshotReader, _ workers: WorkerPool
    ) throws -> ArchiveContent {
        guard manifest.file(name)?.cryptMode != .encrypt else { throw encrypted(name) }
        return try ArchiveContent(name, chunks: store.chunks, of: hold, workers: workers)
    }

    static func encrypted(_ name: ArchiveName) -> BackupFailure {
        BackupFailure(
            .invalidInput, "\(name) is encrypted", hints: ["Restore it with the client, which has the key."])
    }

    /// Where the bytes of a file are; nil for what is no file. Hard links are followed.
    func content(of node: Reader.Node) async throws -> Content? {
        switch node.entry.content {
        case .file: return node.content.map { Content(source: reader.source, range: $0) }
        case .fileReference(let offset, let size): return try await content(at: offset, size: size)
        case .hardLink: return try await content(of: try await reader.target(of: node))
        default: return nil
        }
    }

    /// - Parameter offset: Of the header in front of the bytes, in the contents of a split archive.
    func content(at offset: UInt64, size: UInt64) async throws -> Content {
        let header = UInt64(PxarLimits.headerSize)
        guard let payload, offset <= payload.size, payload.size - offset >= header,
            payload.size - offset - header >= size,
            PxarPayload.isHeader(
                try await payload.read(at: offset, count: PxarLimits.headerSize), contentSize: size)
        else { throw BackupFailure(.corruptData, "\(name) names a content that its second half does not have") }
        return Content(source: payload, range: offset + header..<offset + header + size)
    }
}

import BackupClient
import BackupFormats
import VirtualDisks

/// Brings the export of a machine into a snapshot: its description as a blob and each disk as an image of its own, so
/// that blocks are shared with other backups of the same disks. (Spec: xo-proxy §10.2, variant B.)
///
/// An export that is compressed, or whose description cannot be understood, is kept as it came, as a stream (variant A).
struct MachineUpload: Sendable {
    struct Result: Sendable {
        /// Bytes of the export.
        var byteCount: UInt64
        /// Archives of the disks by their ids in the description, `Ref:4`; empty where the stream was kept.
        var archives: [(id: String, archive: ArchiveName)]
    }

    private static let pieceBytes = XVALimits.pieceBytes
    private static let piecesPerChunk = 4

    let upload: SnapshotUpload

    func run(_ xva: any ByteSource) async throws -> Result {
        let source = CountingSource(xva)
        let reader: XVAReader
        let description: XVADescription
        do {
            reader = try await XVAReader.open(source)
            description = try XVADescription(parsing: reader.description)
            for disk in description.disks { _ = try Self.archive(disk) }
        } catch let error where Self.isUnreadable(error) {
            let head = await source.stopRecording()
            _ = try await upload.sendStream(XenArchive.stream, head: head, from: source)
            return Result(byteCount: await source.byteCount, archives: [])
        }
        _ = await source.stopRecording()
        let archives = try await sendDisks(reader, description)
        try await upload.sendBlob(XenArchive.machine, content: reader.description)
        return Result(byteCount: await source.byteCount, archives: archives)
    }

    private static func isUnreadable(_ error: any Error) -> Bool {
        if error is FormatError { return true }
        let kind = (error as? BackupFailure)?.kind
        return kind == .unsupported || kind == .corruptData || kind == .invalidInput
    }

    private static func archive(_ disk: XVADescription.Disk) throws -> ArchiveName {
        try XenArchive.disk(
            disk.uuid.isEmpty ? disk.id.filter { $0.isLetter || $0.isNumber } : disk.uuid, isMemory: false)
    }

    // MARK: Disks

    private func sendDisks(
        _ reader: XVAReader, _ description: XVADescription
    ) async throws -> [(id: String, archive: ArchiveName)] {
        var archives: [(id: String, archive: ArchiveName)] = []
        var current: (id: String, image: ScatteredImage, chunk: PendingChunk?)?
        do {
            while let piece = try await reader.nextPiece() {
                if current?.id != piece.disk {
                    if let done = current { try await finish(done.image, done.chunk) }
                    current = nil
                    guard let disk = description.disks.first(where: { $0.id == piece.disk }) else {
                        throw BackupFailure(
                            .corruptData, "The export has a disk \(piece.disk) that it does not describe")
                    }
                    let archive = try Self.archive(disk)
                    guard !archives.contains(where: { $0.archive == archive }) else {
                        throw BackupFailure(.corruptData, "The export has the disk \(disk.uuid) twice")
                    }
                    archives.append((disk.id, archive))
                    current = (disk.id, try await upload.beginImage(archive, size: disk.size), nil)
                }
                guard let (id, image, chunk) = current else { continue }
                current = (id, image, try await take(piece, into: image, chunk))
            }
            if let done = current { try await finish(done.image, done.chunk) }
        } catch {
            upload.engine.abort(error)
            await current?.image.waitUntilIdle()
            throw error
        }
        return archives
    }

    /// Pieces of one chunk, as far as they have come.
    private struct PendingChunk: Sendable {
        let place: Int
        var pieces: [[UInt8]?] = Array(repeating: nil, count: MachineUpload.piecesPerChunk)
    }

    /// - Returns: The chunk that the next piece may belong to.
    private func take(
        _ piece: XVAPiece, into image: ScatteredImage, _ chunk: PendingChunk?
    ) async throws -> PendingChunk {
        let place = piece.index / Self.piecesPerChunk
        guard piece.index >= 0, place < image.chunkCount else {
            throw BackupFailure(.corruptData, "Piece \(piece.index) is none of a disk of \(image.size) bytes")
        }
        var next = chunk
        if let chunk, chunk.place != place {
            try await send(chunk, of: image)
            next = nil
        }
        var pending = next ?? PendingChunk(place: place)
        pending.pieces[piece.index % Self.piecesPerChunk] = piece.bytes
        return pending
    }

    private func send(_ chunk: PendingChunk, of image: ScatteredImage) async throws {
        let byteCount = image.byteCount(of: chunk.place)
        var parts: [ArraySlice<UInt8>] = []
        for (number, piece) in chunk.pieces.enumerated() {
            let room = min(Self.pieceBytes, byteCount - number * Self.pieceBytes)
            guard room > 0 else { break }
            let bytes = piece ?? []
            guard bytes.count <= room || bytes.dropFirst(room).allSatisfy({ $0 == 0 }) else {
                throw BackupFailure(.corruptData, "A piece goes beyond the end of a disk of \(image.size) bytes")
            }
            parts.append(bytes.prefix(room))
            if bytes.count < room { parts.append([UInt8](repeating: 0, count: room - bytes.count)[...]) }
        }
        try await image.put(chunk.place, parts)
    }

    private func finish(_ image: ScatteredImage, _ chunk: PendingChunk?) async throws {
        if let chunk { try await send(chunk, of: image) }
        _ = try await upload.finish(image)
    }
}

/// Counts what is read, and keeps it for those who may have to begin again.
private actor CountingSource: ByteSource {
    private let source: any ByteSource
    private(set) var byteCount: UInt64 = 0
    /// Bounded by the largest description that is read.
    private var recorded: [UInt8]? = []

    init(_ source: any ByteSource) { self.source = source }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        guard let bytes = try await source.read(upTo: maxBytes) else { return nil }
        byteCount += UInt64(bytes.count)
        recorded?.append(contentsOf: bytes)
        return bytes
    }

    /// What has been read so far; nothing is kept from now on.
    func stopRecording() -> [UInt8] {
        defer { recorded = nil }
        return recorded ?? []
    }
}

package import BackupFormats
package import BackupProtocol
package import Chunking
import Crypto
import Platform

/// One snapshot while it is sent: opens archives, keeps the manifest, finishes. (Spec: protocol C.1.)
///
/// Archives may be sent one after the other or at the same time. Nothing is on the server until ``finish()`` has
/// returned; when the connection ends before, the server forgets all of it.
package final class SnapshotUpload: Sendable {
    package let engine: UploadEngine
    package let snapshot: SnapshotName
    package let protection: ContentProtection
    /// What did not work out but is no reason to stop, for the log.
    private let warn: @Sendable (String) -> Void
    private let state = Monitor(State())

    private struct State: Sendable {
        var previous: Manifest?
        var files: [Manifest.File] = []
    }

    /// - Parameters:
    ///   - transport: A backup session that was opened for `snapshot`.
    ///   - memoryLimit: Bytes that chunks on their way may hold.
    ///   - isDryRun: Read, cut and count, but send nothing.
    package init(
        _ snapshot: SnapshotName, transport: any BackupTransport, protection: ContentProtection,
        memoryLimit: Int = UploadEngine.memoryLimit, isDryRun: Bool = false,
        warn: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.snapshot = snapshot
        self.protection = protection
        self.warn = warn
        engine = UploadEngine(
            transport: transport, codec: ChunkCodec(key: protection.encryptionKey), memoryLimit: memoryLimit,
            isDryRun: isDryRun)
    }

    // MARK: - The previous snapshot

    /// Asks for the previous snapshot's manifest, from which archives learn what the server has.
    ///
    /// One that was made with another key, or cannot be read, is left alone; then everything is sent.
    ///
    /// - Returns: The time of the snapshot that is built upon.
    @discardableResult
    package func loadPrevious() async throws -> Int64? {
        guard !engine.isDryRun else { return nil }
        do {
            guard let time = try await engine.calls.previousBackupTime() else { return nil }
            let blob = try await engine.calls.previous(.manifest, limit: BlobLimits.encodedBlob.upperBound)
            let manifest = try Manifest(parsing: ChunkCodec(key: nil).decodeBlob(blob))
            try protection.checkPrevious(manifest)
            state.withLock { $0.previous = manifest }
            return time
        } catch let failure as BackupFailure where failure.kind == .unavailable {
            throw failure
        } catch {
            warn("The previous snapshot is not used: \(error)")
            return nil
        }
    }

    /// How large an archive was in the previous snapshot: what progress can be measured by.
    package func previousSize(of archive: ArchiveName) -> UInt64? {
        state.withLock { $0.previous?.file(archive)?.size }
    }

    /// Learns the chunks of the previous snapshot's archive of the same name.
    private func learnKnownChunks(of archive: ArchiveName) async {
        guard let file = state.withLock({ $0.previous?.file(archive) }) else { return }
        // Chunks of the other kind must not be named in this archive: their readers would refuse them.
        guard file.cryptMode.hasEncryptedChunks == protection.mode.hasEncryptedChunks else { return }
        do {
            let bytes = try await engine.calls.previous(archive, limit: SessionCalls.indexLimit)
            let list = try ChunkList(archive, parsing: bytes)
            guard list.checksum == file.checksum else {
                throw BackupFailure(.corruptData, "its checksum is not the one in the manifest")
            }
            for place in 0..<list.count { engine.known.add(list.digest(at: place)) }
        } catch {
            warn("\(archive) of the previous snapshot is not used, all its chunks are sent: \(error)")
        }
    }

    // MARK: - Archives

    /// Opens a stream, so that its writer id can be used before anything is sent.
    package func beginStream(_ archive: ArchiveName) async throws -> IndexUpload {
        await learnKnownChunks(of: archive)
        return try await IndexUpload.begin(archive, kind: .dynamic, on: engine)
    }

    /// Sends a stream that was begun, cut by content.
    ///
    /// - Parameter produce: Writes the stream, on a thread of its own; may block.
    package func sendStream(
        _ upload: IndexUpload, chunker: Chunker, produce: @escaping @Sendable (ChunkSink) throws -> Void
    ) async throws -> IndexSummary {
        let summary = try await upload.sendStream(cutBy: chunker, produce: produce)
        add(summary)
        return summary
    }

    /// Sends an image file or block device.
    package func sendImage(_ archive: ArchiveName, _ image: ImageFile) async throws -> IndexSummary {
        await learnKnownChunks(of: archive)
        let upload = try await IndexUpload.begin(archive, kind: .fixed, size: UInt64(image.byteCount), on: engine)
        let summary = try await upload.sendImage(image)
        add(summary)
        return summary
    }

    /// Sends a stream of unknown length as an image.
    ///
    /// - Parameter carrier: A stream of this snapshot that is open until this call has returned.
    package func sendImage(
        _ archive: ArchiveName, through carrier: IndexUpload, produce: @escaping @Sendable (ChunkSink) throws -> Void
    ) async throws -> IndexSummary {
        await learnKnownChunks(of: archive)
        let summary = try await carrier.sendImageOfUnknownSize(as: archive, produce: produce)
        add(summary)
        return summary
    }

    /// The previous snapshot's image of that name, as a base; the server then knows its chunks.
    ///
    /// - Returns: nil where the previous snapshot has none.
    /// - Throws: ``BackupFailure`` of kind `corruptData` where its index is not the one that its manifest lists.
    package func previousImage(_ archive: ArchiveName) async throws -> PreviousImage? {
        guard archive.kind == .fixedIndex, let file = state.withLock({ $0.previous?.file(archive) }),
            file.cryptMode.hasEncryptedChunks == protection.mode.hasEncryptedChunks
        else { return nil }
        let bytes = try await engine.calls.previous(archive, limit: SessionCalls.indexLimit)
        do {
            let index = try FixedIndex(parsing: bytes)
            guard index.header.chunkByteCount == SessionLimits.fixedChunkBytes else { return nil }
            let checksum = index.computedChecksum
            guard checksum == file.checksum, index.size == file.size else {
                throw FormatError.invalid("its checksum is not the one in the manifest", offset: 0)
            }
            if index.count <= Self.rememberedChunks {
                for place in 0..<index.count { engine.known.add(index.digest(at: place)) }
            }
            return PreviousImage(archive: archive, index: index, checksum: checksum)
        } catch let error as FormatError {
            throw BackupFailure(
                .corruptData, "\(archive) of the previous snapshot cannot be built upon", cause: error)
        }
    }

    /// Chunks of a base that are remembered one by one: 512 GiB. Of larger ones the server remembers them.
    private static let rememberedChunks = 131_072

    /// Begins an image whose chunks come in any order.
    ///
    /// - Parameter base: What ``previousImage(_:)`` gave for the same archive; nil for a whole image.
    package func beginImage(_ archive: ArchiveName, size: UInt64, base: PreviousImage? = nil) async throws
        -> ScatteredImage
    {
        if base == nil { await learnKnownChunks(of: archive) }
        return try await ScatteredImage.begin(archive, size: size, base: base, on: engine)
    }

    /// Completes an image that was begun.
    package func finish(_ image: ScatteredImage) async throws -> IndexSummary {
        let summary = try await image.finish()
        add(summary)
        return summary
    }

    /// Sends a small file whole.
    package func sendBlob(_ archive: ArchiveName, content: [UInt8]) async throws {
        let blob = try engine.codec.encodeBlob(content)
        guard BlobLimits.encodedBlob.contains(blob.count) else {
            throw BackupFailure(
                .invalidInput, "\(archive) has \(content.count) bytes, more than a blob can hold",
                hints: ["Back it up as part of a folder (type pxar) or as an image (type img)."])
        }
        try await send(blob, as: archive)
    }

    private func send(_ blob: [UInt8], as archive: ArchiveName) async throws {
        if !engine.isDryRun { try await engine.calls.uploadBlob(archive, blob) }
        let checksum = ChunkDigest(SHA256.hash(data: blob))
        add(Manifest.File(name: archive, cryptMode: protection.mode, size: UInt64(blob.count), checksum: checksum))
    }

    private func add(_ summary: IndexSummary) {
        add(
            Manifest.File(
                name: summary.archive, cryptMode: protection.mode, size: summary.size, checksum: summary.checksum))
    }

    private func add(_ file: Manifest.File) {
        state.withLock { $0.files.append(file) }
    }

    // MARK: - The end

    /// Sends the key for the master key's owner, the signed manifest, and lets the server publish the snapshot.
    ///
    /// - Returns: The manifest as it was sent.
    @discardableResult
    package func finish() async throws -> Manifest {
        if let sealed = protection.keyForMaster {
            try await send(try engine.codec.encodePlain(sealed, compress: false), as: .encryptedKey)
        }
        let manifest = try protection.signed(Manifest(snapshot: snapshot, files: state.withLock { $0.files }))
        if !engine.isDryRun {
            try await engine.calls.uploadBlob(.manifest, try engine.codec.encodePlain(manifest.encoded, compress: true))
            try await engine.calls.finish()
        }
        return manifest
    }
}

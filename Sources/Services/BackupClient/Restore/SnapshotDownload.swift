package import BackupFormats
package import BackupProtocol
package import BlobEncryption
import Crypto
import Platform

/// One snapshot while it is read. (Spec: protocol C.2.)
package final class SnapshotDownload: Sendable {
    package let manifest: Manifest
    package let counter = RestoreCounter()
    private let calls: SessionCalls
    private let codec: ChunkCodec
    private let workers: WorkerPool

    /// Reads and checks the manifest.
    ///
    /// - Parameters:
    ///   - transport: A reader session that was opened for the snapshot.
    ///   - key: What encrypted archives are opened with, and what the manifest must be signed with.
    ///   - acceptsUnsigned: Whether a manifest without signature is taken although there is a key (decision 9).
    /// - Throws: ``BackupFailure`` of kind `corruptData` where the manifest is no manifest of `snapshot` or not
    ///   signed as it should be.
    package static func open(
        _ snapshot: SnapshotName, transport: any BackupTransport, key: EncryptionKey?, acceptsUnsigned: Bool = false,
        width: Int = ProcessInformation.processorCount
    ) async throws -> SnapshotDownload {
        let calls = SessionCalls(transport: transport)
        let blob = try await calls.download(.manifest, limit: BlobLimits.encodedBlob.upperBound)
        let manifest: Manifest
        do {
            manifest = try Manifest(parsing: ChunkCodec(key: nil).decodeBlob(blob))
        } catch {
            throw BackupFailure(
                .corruptData, "The manifest of \(snapshot) is damaged", hints: ["Restore an older snapshot."],
                cause: error)
        }
        guard manifest.snapshot == snapshot else {
            throw BackupFailure(.corruptData, "The server sent the manifest of \(manifest.snapshot) for \(snapshot)")
        }
        if let key { try ManifestSignature.require(on: manifest, by: key, overriding: acceptsUnsigned) }
        return SnapshotDownload(manifest, calls: calls, codec: ChunkCodec(key: key), width: width)
    }

    private init(_ manifest: Manifest, calls: SessionCalls, codec: ChunkCodec, width: Int) {
        self.manifest = manifest
        self.calls = calls
        self.codec = codec
        workers = WorkerPool(name: "decode", width: width)
    }

    deinit { workers.close() }

    /// The manifest's entry of an archive that is asked for as `root.pxar`, `root.pxar.didx` or the like.
    ///
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` that lists what there is.
    package func file(named name: String) throws -> Manifest.File {
        let endings = ["", ".didx", ".fidx", ".blob"]
        for ending in endings {
            if let archive = ArchiveName(name + ending), let file = manifest.file(archive) { return file }
        }
        throw BackupFailure(
            .noSuchObject, "\(manifest.snapshot) has no archive \(name)",
            hints: ["It has \(manifest.files.map { $0.name.name }.joined(separator: ", "))."])
    }

    /// The content of a blob, checked against the manifest.
    package func blob(_ file: Manifest.File) async throws -> [UInt8] {
        let blob = try await calls.download(file.name, limit: BlobLimits.encodedBlob.upperBound)
        guard UInt64(blob.count) == file.size,
            file.checksum == nil || file.checksum == ChunkDigest(SHA256.hash(data: blob))
        else {
            throw BackupFailure(
                .corruptData, "The blob \(file.name) is not the one that the manifest lists",
                hints: ["Verify the snapshot on the server, or restore an older one."])
        }
        do {
            return try codec.decodeBlob(blob)
        } catch {
            throw BackupFailure(.corruptData, "The blob \(file.name) cannot be read", cause: error)
        }
    }

    /// The chunks of an archive, checked against the manifest; after this they can be fetched.
    func chunks(of file: Manifest.File) async throws -> ChunkList {
        let bytes = try await calls.download(file.name, limit: SessionCalls.indexLimit)
        let list = try ChunkList(file.name, parsing: bytes)
        guard list.checksum == file.checksum, list.size == file.size else {
            throw BackupFailure(
                .corruptData, "The index \(file.name) is not the one that the manifest lists",
                hints: ["Verify the snapshot on the server, or restore an older one."])
        }
        return list
    }

    /// Brings the chunks of an archive.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where they are encrypted and there is no key.
    func fetcher(for file: Manifest.File, cacheBytes: Int = ChunkFetcher.cacheBytes) throws -> ChunkFetcher {
        let isEncrypted = file.cryptMode.hasEncryptedChunks
        guard !isEncrypted || codec.key != nil else {
            throw BackupFailure(
                .invalidInput, "\(file.name) is encrypted, and there is no key",
                hints: ["Name the key file with --keyfile."])
        }
        return ChunkFetcher(
            calls: calls, codec: isEncrypted ? codec : ChunkCodec(key: nil), workers: workers, counter: counter,
            cacheBytes: cacheBytes)
    }

    /// Gives the whole archive to `consume`, in order, in pieces of a chunk, on one thread.
    package func stream(_ file: Manifest.File, consume: @escaping @Sendable ([UInt8]) throws -> Void) async throws {
        if file.name.kind == .blob {
            let content = try await blob(file)
            counter.update {
                $0.totalBytes += Int64(content.count); $0.bytes += Int64(content.count)
            }
            return try await workers.run { try consume(content) }
        }
        let list = try await chunks(of: file)
        counter.update { $0.totalBytes += Int64(list.size) }
        try await fetcher(for: file).inOrder(list, consume: consume)
    }

    /// Writes an image into a file or block device; zeros become holes where the target is a new file.
    package func writeImage(_ file: Manifest.File, to target: ImageTarget) async throws {
        let list = try await chunks(of: file)
        counter.update { $0.totalBytes += Int64(list.size) }
        try await workers.run { try target.prepare(byteCount: list.size) }
        let fetcher = try fetcher(for: file)
        if target.readsAsZero {
            try await fetcher.anyOrder(list) { try target.write($0, at: $1) }
        } else {
            let position = Monitor(UInt64(0))
            try await fetcher.inOrder(list) { content in
                let offset = position.withLock { offset in
                    defer { offset += UInt64(content.count) }
                    return offset
                }
                try target.write(content, at: offset)
            }
        }
        try await workers.run { try target.finish() }
    }
}

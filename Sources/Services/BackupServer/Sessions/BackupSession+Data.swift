import BackupFormats
import BackupProtocol
import BlobCoding
import Crypto
import Datastore
import Synchronization
import Tasks

/// Chunks, blobs and the previous snapshot of a backup session. All calls run on worker threads.
extension BackupSession {
    /// Checks and stores a chunk, and makes it known. (Spec: protocol B.1, chunk upload.)
    func storeChunk(_ kind: WriterKind, _ upload: ChunkUpload, _ body: [UInt8]) throws -> BackupResponse {
        guard body.count == upload.encodedSize else {
            throw BackupFailure(
                .invalidInput,
                "uploaded chunk \(upload.digest) has unexpected size (\(body.count) != \(upload.encodedSize))")
        }
        let blob = try checked(upload, body)
        try rules.withLock { rules throws(BackupFailure) in
            try rules.beginChunk(kind, writer: upload.writer, size: upload.size)
        }
        let insertion: ChunkInsertion
        do {
            insertion = try datastore.chunks.insert(blob, as: upload.digest, length: upload.size, pinning: stage.chunks)
        } catch {
            rules.withLock { $0.chunkFailed(writer: upload.writer, size: upload.size) }
            throw error
        }
        try rules.withLock { rules throws(BackupFailure) in
            try rules.chunkStored(
                kind, writer: upload.writer, size: upload.size, storedSize: insertion.storedByteCount,
                isDuplicate: insertion.isDuplicate)
        }
        table.traffic.received(byteCount: body.count, isDuplicate: insertion.isDuplicate)
        let digest = JSONValue.string(upload.digest.description)
        guard revealsDuplicates else { return .data(digest) }
        let answer: JSONValue = ["data": digest, "duplicate": .bool(insertion.isDuplicate)]
        return BackupResponse(
            status: 200, contentType: BackupResponse.jsonType, body: .bytes(Array(answer.compactText.utf8)))
    }

    /// The blob with its checksum made right. A plain one is opened: length and digest of its content must be as
    /// announced. An encrypted one cannot be looked into.
    private func checked(_ upload: ChunkUpload, _ body: [UInt8]) throws -> [UInt8] {
        let header: DataBlobHeader
        do { header = try DataBlobHeader(parsing: body) } catch {
            throw Self.unreadable("chunk \(upload.digest)", error)
        }
        switch header.encoding {
        case .encrypted, .compressedThenEncrypted:
            break
        case .plain:
            let (digest, length) = body.withUnsafeBytes { bytes in
                let content = UnsafeRawBufferPointer(rebasing: bytes[header.encoding.headerByteCount...])
                return (SHA256.hash(data: content), content.count)
            }
            try check(upload, ChunkDigest(digest), length)
        case .compressed:
            let content: [UInt8]
            do throws(FormatError) {
                content = try coders.withDecoder { decoder throws(FormatError) in
                    try decoder.decode(body, limit: upload.size, checksum: .ignore)
                }
            } catch {
                if case .tooLong = error {
                    throw BackupFailure(
                        .invalidInput,
                        "detected chunk with wrong length (\(upload.digest) is longer than \(upload.size))")
                }
                throw Self.unreadable("chunk \(upload.digest)", error)
            }
            try check(upload, ChunkDigest(SHA256.hash(data: content)), content.count)
        }
        do { return try BlobChecksum.corrected(body) } catch { throw Self.unreadable("chunk \(upload.digest)", error) }
    }

    private func check(_ upload: ChunkUpload, _ digest: ChunkDigest, _ length: Int) throws {
        guard digest == upload.digest else {
            throw BackupFailure(.invalidInput, "detected chunk with wrong digest (\(upload.digest) was announced)")
        }
        guard length == upload.size else {
            throw BackupFailure(
                .invalidInput, "detected chunk with wrong length (\(upload.size) != \(length), chunk \(upload.digest))")
        }
    }

    private static func unreadable(_ object: String, _ error: FormatError) -> BackupFailure {
        switch error {
        case .unknownMagic: BackupFailure(.invalidInput, "unable to parse \(object) - wrong magic")
        case .checksumMismatch: BackupFailure(.invalidInput, "\(object) has wrong CRC checksum.")
        default: BackupFailure(.invalidInput, "unable to parse \(object)", cause: error)
        }
    }

    /// Stores a file of the snapshot. Its checksum must be right, other than that of a chunk.
    func storeBlob(_ name: String, encodedSize: Int, _ body: [UInt8]) throws {
        let file = try rules.withLock { rules throws(BackupFailure) in try rules.checkBlob(name: name) }
        guard body.count == encodedSize else {
            throw BackupFailure(
                .invalidInput, "got blob '\(name)' with unexpected length (\(encodedSize) != \(body.count))")
        }
        do { try BlobChecksum.verify(body) } catch { throw Self.unreadable("blob '\(name)'", error) }
        try stage.writeBlob(file, body)
        rules.withLock { $0.blobStored(byteCount: body.count) }
        task.log("added blob '\(file)' (\(body.count) bytes)")
    }

    /// A file of the base. The chunks of an index are known before its first byte is sent.
    func previous(_ name: String) throws -> BackupResponse {
        try rules.withLock { rules throws(BackupFailure) in try rules.requireActive() }
        guard stage.base != nil else {
            throw BackupFailure(.invalidInput, "no valid previous backup of group \(request.snapshot.group)")
        }
        guard let file = ArchiveName(name) else {
            throw BackupFailure(.invalidInput, "unknown archive type: \"\(name)\"")
        }
        guard file.kind != .blob else { return .file(try stage.previousBlob(file)) }
        let index = try SessionFailure.indexOpening { try stage.openPreviousIndex(file) }
        task.log("the \(index.count) chunks of '\(file)' of the previous snapshot are known")
        return FileBody(index, workers: workers).response
    }
}

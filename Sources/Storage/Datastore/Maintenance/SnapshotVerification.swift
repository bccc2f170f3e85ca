import BackupFormats
import BlobCoding
import Crypto
import Platform
import Synchronization

/// What a verification found.
package struct VerifyOutcome: Hashable, Sendable {
    /// One sentence for each thing that is wrong; empty where the snapshot is good.
    package var errors: [String] = []
    package var checkedChunks = 0
    /// Encoded bytes read.
    package var readByteCount = 0
    package var isGood: Bool { errors.isEmpty }
}

/// Verifies snapshots, each chunk once. Use one for all snapshots of a task. (Spec: formats §9.10.)
///
/// Plain chunks are checked against digest and length; of encrypted ones only the CRC, since the server has no keys.
/// A chunk that is corrupt is set aside, so that a later backup makes it anew.
package final class SnapshotVerifier: Sendable {
    /// Errors of one snapshot that are told one by one.
    private static let errorLimit = 1000
    /// Chunks whose places are looked up, sorted and read together.
    private static let batchLimit = 16_384

    private struct Seen {
        var good = DigestTable()
        var bad: Set<ChunkDigest> = []
    }

    private let store: Datastore
    private let task: String
    private let log: @Sendable (String) -> Void
    private let isCancelled: @Sendable () -> Bool
    private let width: Int
    private let coders = BlobCoders()
    private let seen = Mutex(Seen())

    /// - Parameters:
    ///   - task: The UPID that is written into manifests.
    ///   - width: Threads that read and check.
    ///   - isCancelled: Asked between chunks; then ``verify(_:)`` throws `cancelled` and writes no state.
    package init(
        _ store: Datastore, task: String, width: Int = ProcessInformation.processorCount,
        isCancelled: @escaping @Sendable () -> Bool = { false }, log: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.store = store
        self.task = task
        self.width = width
        self.isCancelled = isCancelled
        self.log = log
    }

    /// Checks all that the snapshot's manifest lists and writes the result into it, where the store can be written.
    ///
    /// - Throws: ``BackupFailure`` where verification cannot be done: `cancelled`, `unavailable`. Damage is no failure.
    package func verify(_ reader: SnapshotReader) throws -> VerifyOutcome {
        var outcome = VerifyOutcome()
        let label = text(reader.snapshot, in: reader.namespace)
        let manifest: Manifest
        do {
            manifest = try reader.manifest()
        } catch let error as BackupFailure {
            note("\(error)", &outcome)
            return outcome
        }
        for file in manifest.files {
            log("verify \(label)/\(file.name)")
            do {
                if file.name.kind == .blob {
                    try verifyBlob(file, reader)
                } else {
                    try verifyIndex(file, reader, &outcome)
                }
            } catch let error as BackupFailure where error.kind == .cancelled || error.kind == .unavailable {
                throw error
            } catch {
                note("\(file.name): \(error)", &outcome)
            }
        }
        if !store.isReadOnly {
            try store.updateManifest(of: reader.snapshot, in: reader.namespace) {
                $0.verifyState = .init(outcome: outcome.isGood ? .ok : .failed, task: task)
            }
        }
        return outcome
    }

    private func note(_ error: String, _ outcome: inout VerifyOutcome) {
        log("error: \(error)")
        if outcome.errors.count < Self.errorLimit { outcome.errors.append(error) }
    }

    private func verifyBlob(_ file: Manifest.File, _ reader: SnapshotReader) throws {
        let blob = try reader.blob(file.name)
        guard UInt64(blob.count) == file.size else {
            throw BackupFailure(.corruptData, "it has \(blob.count) bytes, the manifest says \(file.size)")
        }
        if let checksum = file.checksum, ChunkDigest(SHA256.hash(data: blob)) != checksum {
            throw BackupFailure(.corruptData, "its checksum is not the one in the manifest")
        }
        if try !BlobChecksum.verify(blob).encoding.isEncrypted {
            _ = try coders.withDecoder { try $0.decode(blob, limit: BlobLimits.maxContent) }
        }
    }

    private func verifyIndex(_ file: Manifest.File, _ reader: SnapshotReader, _ outcome: inout VerifyOutcome) throws {
        let index = try reader.openIndex(file.name)
        guard index.logicalSize == file.size else {
            throw BackupFailure(.corruptData, "it has \(index.logicalSize) bytes, the manifest says \(file.size)")
        }
        guard try index.computeChecksum() == file.checksum else {
            throw BackupFailure(.corruptData, "its checksum is not the one in the manifest")
        }
        let shared = Monitor(VerifyOutcome())
        var batch: [IndexEntry] = []
        var queued: Set<ChunkDigest> = []
        func work() throws {
            try verify(batch, file, shared)
            batch = []
            queued = []
        }
        try index.forEach { entry in
            let isKnown = seen.withLock { seen in
                if seen.bad.contains(entry.digest) {
                    shared.withLock { note("\(file.name): chunk \(entry.digest) is missing or corrupt", &$0) }
                    return true
                }
                return seen.good[entry.digest] != nil
            }
            guard !isKnown, queued.insert(entry.digest).inserted else { return }
            batch.append(entry)
            if batch.count == Self.batchLimit { try work() }
        }
        try work()
        let found = shared.withLock { $0 }
        outcome.checkedChunks += found.checkedChunks
        outcome.readByteCount += found.readByteCount
        outcome.errors += found.errors.prefix(max(0, Self.errorLimit - outcome.errors.count))
    }

    /// Reads the chunks in the order of their inodes, which is about that on the disk, on several threads.
    private func verify(_ batch: [IndexEntry], _ file: Manifest.File, _ shared: Monitor<VerifyOutcome>) throws {
        let ordered = try batch.map { ($0, try store.chunks.inode(of: $0.digest) ?? .max) }.sorted { $0.1 < $1.1 }
        let results = Monitor<[(IndexEntry, Result<Int, any Error>)]>([])
        try Threads.forEach(count: ordered.count, width: width) { number in
            if self.isCancelled() { throw BackupFailure(.cancelled, "The verification was stopped") }
            let entry = ordered[number].0
            let result = Result { try self.verifyChunk(entry, isEncrypted: file.cryptMode.hasEncryptedChunks) }
            results.withLock { $0.append((entry, result)) }
        }
        for (entry, result) in results.withLock({ $0 }) {
            switch result {
            case .success(let byteCount):
                seen.withLock { $0.good.update(entry.digest) { _ in .init(length: entry.length, origin: .previous) } }
                shared.withLock { outcome in
                    outcome.checkedChunks += 1
                    outcome.readByteCount += byteCount
                }
            case .failure(let error):
                if let failure = error as? BackupFailure, failure.kind == .unavailable { throw error }
                _ = seen.withLock { $0.bad.insert(entry.digest) }
                shared.withLock { note("\(file.name): \(error)", &$0) }
            }
        }
    }

    /// - Returns: Encoded bytes.
    private func verifyChunk(_ entry: IndexEntry, isEncrypted: Bool) throws -> Int {
        do {
            let blob = try store.chunks.read(entry.digest)
            let header = try DataBlobHeader(parsing: blob)
            guard isEncrypted || !header.encoding.isEncrypted else {
                throw BackupFailure(.corruptData, "Chunk \(entry.digest) is encrypted, and its index says otherwise")
            }
            if header.encoding.isEncrypted { return blob.count }
            let content = try coders.withDecoder {
                try $0.decode(blob, limit: BlobLimits.maxChunkContent, checksum: .ignore)
            }
            guard content.count == entry.length else {
                throw BackupFailure(
                    .corruptData, "Chunk \(entry.digest) has \(content.count) bytes, its index says \(entry.length)")
            }
            guard ChunkDigest(SHA256.hash(data: content)) == entry.digest else {
                throw BackupFailure(.corruptData, "Chunk \(entry.digest) has other content than its digest says")
            }
            // The content fits the digest, so it is the index that is wrong: others may rely on the chunk.
            guard !isEncrypted else {
                throw BackupFailure(.invalidInput, "Chunk \(entry.digest) is plain, and its index says otherwise")
            }
            return blob.count
        } catch {
            let isDamage = error is FormatError || (error as? BackupFailure)?.kind == .corruptData
            if isDamage, !store.isReadOnly, let name = try store.chunks.markBad(entry.digest) {
                log("corrupt chunk was renamed to \(name)")
            }
            if let error = error as? FormatError {
                throw BackupFailure(.corruptData, "Chunk \(entry.digest) is corrupt", cause: error)
            }
            throw error
        }
    }
}

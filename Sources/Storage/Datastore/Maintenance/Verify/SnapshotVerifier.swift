import BackupFormats
import BlobCoding
import Crypto
import Platform
import Synchronization

/// Verifies snapshots, each chunk once. Use one for all snapshots of a task, one snapshot at a time. (Spec: formats §9.10.)
///
/// Plain chunks are checked against digest and length; of encrypted ones only the CRC, since the server has no keys.
/// A chunk that is corrupt is set aside, so that a later backup makes it anew.
package final class SnapshotVerifier: Sendable {
    /// Chunks whose places are looked up, sorted and read together.
    private static let batchLimit = 131_072

    let store: Datastore
    private let task: String
    private let log: @Sendable (String) -> Void
    private let isCancelled: @Sendable () -> Bool
    private let coders = BlobCoders()
    private let seen = Mutex(SeenChunks())
    private let checker: ChunkChecker

    /// - Parameters:
    ///   - task: The UPID that is written into manifests.
    ///   - isCancelled: Asked between chunks; then ``verify(_:)`` throws `cancelled` and writes no state.
    package init(
        _ store: Datastore, task: String, effort: VerifyEffort = VerifyEffort(),
        isCancelled: @escaping @Sendable () -> Bool = { false }, log: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.store = store
        self.task = task
        self.isCancelled = isCancelled
        self.log = log
        checker = ChunkChecker(store.chunks, effort: effort, isCancelled: isCancelled)
    }

    /// Checks all that the snapshot's manifest lists and writes the result into it, where the store can be written.
    ///
    /// - Throws: ``BackupFailure`` where verification cannot be done: `cancelled`, `unavailable`. Damage is no failure.
    package func verify(_ reader: SnapshotReader) throws -> VerifyOutcome {
        var outcome = VerifyOutcome()
        let label = "\(store.name):\(text(reader.snapshot, in: reader.namespace))"
        let manifest: Manifest
        do {
            manifest = try reader.manifest()
        } catch let error as BackupFailure where error.kind != .unavailable {
            note("verify \(label) - manifest load error: \(error)", &outcome)
            return outcome
        }
        for file in manifest.files {
            log("  check \(file.name)")
            do {
                if file.name.kind == .blob {
                    try verifyBlob(file, reader)
                } else {
                    try verifyIndex(file, reader, &outcome)
                }
            } catch let error as BackupFailure where error.kind == .cancelled || error.kind == .unavailable {
                throw error
            } catch {
                note("verify \(label)/\(file.name) failed: \(error)", &outcome)
            }
        }
        try write(outcome.isGood ? .ok : .failed, to: reader, &outcome)
        return outcome
    }

    /// A result that cannot be written is told, and does not end the run.
    private func write(
        _ result: Manifest.VerifyState.Outcome, to reader: SnapshotReader, _ outcome: inout VerifyOutcome
    ) throws {
        guard !store.isReadOnly else { return }
        do {
            try store.updateManifest(of: reader.snapshot, in: reader.namespace) {
                $0.verifyState = .init(outcome: result, task: task)
            }
        } catch let error as BackupFailure where error.kind != .unavailable {
            note("the result cannot be written: \(error)", &outcome)
        }
    }

    private func note(_ error: String, _ outcome: inout VerifyOutcome) {
        if outcome.note(error) { log(error) }
    }

    private func verifyBlob(_ file: Manifest.File, _ reader: SnapshotReader) throws {
        let blob = try reader.blob(file.name)
        guard UInt64(blob.count) == file.size else {
            throw BackupFailure(.corruptData, "wrong size (\(file.size) != \(blob.count))")
        }
        if let checksum = file.checksum, ChunkDigest(SHA256.hash(data: blob)) != checksum {
            throw BackupFailure(.corruptData, "wrong index checksum")
        }
        if try !BlobChecksum.verify(blob).encoding.isEncrypted {
            _ = try coders.withDecoder { try $0.decode(blob, limit: BlobLimits.maxContent) }
        }
    }

    private func verifyIndex(_ file: Manifest.File, _ reader: SnapshotReader, _ total: inout VerifyOutcome) throws {
        let start = ContinuousClock.now
        let index = try reader.openIndex(file.name)
        guard try index.computeChecksum() == file.checksum else {
            throw BackupFailure(.corruptData, "wrong index checksum")
        }
        guard index.logicalSize == file.size else {
            throw BackupFailure(.corruptData, "wrong size (\(file.size) != \(index.logicalSize))")
        }
        let isEncrypted = file.cryptMode.hasEncryptedChunks
        var outcome = VerifyOutcome()
        // Also where the table turns out to be broken in its middle.
        defer {
            showRates(outcome, since: start)
            total.add(outcome)
        }
        var batch: [IndexEntry] = []
        var queued = DigestSet()
        try index.forEach { entry in
            switch seen.withLock({ $0.state(of: entry.digest, isEncrypted: isEncrypted) }) {
            case .good: return
            case .bad: note("chunk \(entry.digest) was marked as corrupt", &outcome)
            case nil:
                guard queued.insert(entry.digest) else { return }
                batch.append(entry)
                guard batch.count == Self.batchLimit else { return }
                try verify(batch, isEncrypted, &outcome)
                batch.removeAll(keepingCapacity: true)
                queued = DigestSet()
            }
        }
        try verify(batch, isEncrypted, &outcome)
        if outcome.errorCount > 0 {
            let label = "\(store.name):\(text(reader.snapshot, in: reader.namespace))/\(file.name)"
            log("verify \(label) failed: chunks could not be verified")
        }
    }

    private func showRates(_ outcome: VerifyOutcome, since start: ContinuousClock.Instant) {
        let seconds = ContinuousClock.now - start
        let time = max(1e-6, Double(seconds.components.seconds) + Double(seconds.components.attoseconds) / 1e18)
        let (read, content) = (Double(outcome.readByteCount), Double(outcome.contentByteCount))
        log(
            "  verified \(Decimals.mebibytes(read))/\(Decimals.mebibytes(content)) MiB in \(Decimals.text(time, 2)) seconds,"
                + " speed \(Decimals.mebibytes(read / time))/\(Decimals.mebibytes(content / time)) MiB/s"
                + " (\(outcome.errorCount) errors)")
    }

    private func verify(_ batch: [IndexEntry], _ isEncrypted: Bool, _ outcome: inout VerifyOutcome) throws {
        guard !batch.isEmpty else { return }
        let found = Monitor(VerifyOutcome())
        try checker.check(batch, isEncrypted: isEncrypted) { entry, result in
            switch result {
            case .good(let byteCount):
                self.seen.withLock { $0.addGood(entry.digest, isEncrypted: isEncrypted) }
                found.withLock { outcome in
                    outcome.checkedChunks += 1
                    outcome.readByteCount += byteCount
                    outcome.contentByteCount += entry.length
                }
            case .damaged(let reason, let file):
                self.seen.withLock { _ = $0.bad.insert(entry.digest) }
                found.withLock { self.note("can't verify chunk \(entry.digest): \(reason)", &$0) }
                if let file { try self.setAside(entry.digest, file) }
            }
        }
        outcome.add(found.withLock { $0 })
    }

    private func setAside(_ digest: ChunkDigest, _ file: UInt64) throws {
        guard !store.isReadOnly else { return }
        do {
            // A session may have replaced the file meanwhile: then it is another one, and stays.
            if let name = try store.chunks.markBad(digest, file: file) {
                log("corrupted chunk renamed to \"\(name)\"")
            }
        } catch let error as BackupFailure where error.kind != .unavailable {
            log("corrupted chunk could not be renamed: \(error)")
        }
    }
}

/// The chunks that a run has looked at.
private struct SeenChunks {
    enum Finding { case good, bad }

    var goodPlain = DigestSet()
    var goodEncrypted = DigestSet()
    var bad: Set<ChunkDigest> = []

    /// Nil for a chunk that is not known, or only as one of the other kind.
    func state(of digest: ChunkDigest, isEncrypted: Bool) -> Finding? {
        if isEncrypted ? goodEncrypted.contains(digest) : goodPlain.contains(digest) { return .good }
        return bad.contains(digest) ? .bad : nil
    }

    mutating func addGood(_ digest: ChunkDigest, isEncrypted: Bool) {
        if isEncrypted { goodEncrypted.insert(digest) } else { goodPlain.insert(digest) }
    }
}

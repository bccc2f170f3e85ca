import BackupFormats
import BackupProtocol
import Datastore
import Synchronization
import Tasks

/// Indexes of a backup session. All calls run in the session's lane, on worker threads.
extension BackupSession {
    func openDynamicIndex(_ name: String) throws -> Int {
        let archive = try rules.withLock { rules throws(BackupFailure) in
            try rules.checkOpening(.dynamic, name: name, size: nil)
        }
        let writer = try stage.createDynamicIndex(archive)
        return register(writer, .dynamic)
    }

    func openFixedIndex(_ name: String, size: UInt64, reuse: String?) throws -> Int {
        let archive = try rules.withLock { rules throws(BackupFailure) in
            try rules.checkOpening(.fixed, name: name, size: size)
        }
        var checksum: [UInt8]?
        if let reuse {
            guard stage.base != nil else {
                throw BackupFailure(.invalidInput, "cannot reuse index '\(name)' - no valid previous backup exists")
            }
            guard let digest = Hex.decode(reuse, allowUppercase: true), digest.count == ChunkDigest.byteCount else {
                throw BackupFailure(
                    .invalidInput,
                    "cannot reuse index '\(name)' - checksum (\(reuse.prefix(80))) doesn't match last backup's")
            }
            checksum = digest
        }
        let writer = try stage.createFixedIndex(archive, size: size, reusing: checksum)
        return register(writer, .fixed, size: size, isIncremental: checksum != nil)
    }

    private func register(
        _ writer: any IndexWriter, _ kind: WriterKind, size: UInt64 = 0, isIncremental: Bool = false
    ) -> Int {
        let id = rules.withLock { $0.register(kind, name: writer.name, size: size, isIncremental: isIncremental) }
        writers.withLock { $0[id] = writer }
        task.log("opened \(kind.rawValue) index \(id) '\(writer.name)'\(isIncremental ? " on the previous one" : "")")
        return id
    }

    /// Takes entries up to the first that is refused; those stay. (Spec: protocol B.1, append.)
    func append(_ kind: WriterKind, _ append: ChunkAppend) throws {
        guard append.offsets.count == append.digests.count else {
            throw BackupFailure(
                .invalidInput, "offset list has wrong length (\(append.offsets.count) != \(append.digests.count))")
        }
        let known = stage.chunks
        let (lengths, refusal) = rules.withLock { rules -> ([Int], BackupFailure?) in
            var lengths: [Int] = []
            lengths.reserveCapacity(append.digests.count)
            for (digest, offset) in zip(append.digests, append.offsets) {
                do throws(BackupFailure) {
                    lengths.append(
                        try rules.append(
                            kind, writer: append.writer, digest: digest, offset: offset,
                            length: known.knownLength(of: digest)))
                } catch {
                    return (lengths, error)
                }
            }
            return (lengths, nil)
        }
        if !lengths.isEmpty, let writer = writers.withLock({ $0[append.writer] }) {
            do {
                for (index, length) in lengths.enumerated() {
                    try writer.append(append.digests[index], length: length, at: append.offsets[index])
                }
            } catch {
                abandon(append.writer, writer)
                throw error
            }
        }
        if let refusal { throw refusal }
    }

    func close(_ kind: WriterKind, _ close: IndexClose) throws {
        let closing: ClosingIndex
        do {
            closing = try rules.withLock { rules throws(BackupFailure) in try rules.beginClose(kind, close) }
        } catch {
            // A wrong count ends the writer; an unknown one, or a checksum that is none, does not.
            if rules.withLock({ !$0.hasWriter(close.writer) }) {
                writers.withLock { $0.removeValue(forKey: close.writer) }?.discard()
            }
            throw error
        }
        guard let writer = writers.withLock({ $0.removeValue(forKey: close.writer) }) else {
            throw BackupFailure(.internalFault, "\(kind.rawValue) writer '\(close.writer)' has no file")
        }
        do {
            let summary = try writer.close(
                chunkCount: Int(clamping: close.chunkCount), size: close.size, checksum: closing.checksum)
            rules.withLock { $0.closed(closing) }
            task.log(
                "closed '\(closing.name)': \(summary.size) bytes in \(summary.chunkCount) chunks, checksum \(summary.checksum)"
            )
        } catch {
            abandon(close.writer, writer)
            throw BackupFailure(
                (error as? BackupFailure)?.kind ?? .internalFault,
                "\(kind.rawValue) writer '\(closing.name)' close failed",
                cause: error)
        }
    }

    /// Gives an index up whose file failed; the backup cannot be finished any more.
    private func abandon(_ id: Int, _ writer: any IndexWriter) {
        rules.withLock { $0.writerFailed(id, name: writer.name) }
        _ = writers.withLock { $0.removeValue(forKey: id) }
        writer.discard()
    }
}

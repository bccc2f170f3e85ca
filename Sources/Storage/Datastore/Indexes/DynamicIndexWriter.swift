import BackupFormats
import Platform
import Synchronization

/// Writes a `.didx` file: entries follow each other without gaps.
final class DynamicIndexWriter: IndexWriter {
    /// Bytes of entries that are collected before they are written.
    private static let bufferLimit = 64 << 10

    private struct State {
        /// Nil once closed or discarded.
        var file: IndexFile?
        var checksum = DynamicIndexChecksum()
        var buffer: [UInt8] = []
        /// Bytes of entries that are in the file.
        var written = 0
    }

    let name: ArchiveName
    private let options: StoreOptions
    private let uuid: SIMD16<UInt8>
    private let state: Mutex<State>

    init(_ name: ArchiveName, folder: String, owner: FileOwner, options: StoreOptions) throws {
        self.name = name
        self.options = options
        let file: IndexFile
        (uuid, file) = try storing("Index \(name) cannot be created") {
            (SIMD16(try SystemRandom.uuid()), try IndexFile(name, folder: folder, owner: owner, options: options))
        }
        state = Mutex(State(file: file))
    }

    deinit { discard() }

    var appendedCount: Int { state.withLock { $0.checksum.count } }

    func append(_ digest: ChunkDigest, length: Int, at offset: UInt64) throws {
        try state.withLock { state in
            guard let file = state.file else { throw Self.closed(name) }
            guard offset == state.checksum.size else {
                throw BackupFailure(
                    .invalidInput,
                    "Chunk \(digest) cannot be appended to \(name) at offset \(offset): the index ends at \(state.checksum.size)"
                )
            }
            guard length > 0, state.checksum.count < DynamicIndexHeader.maxEntryCount else {
                throw BackupFailure(.invalidInput, "Chunk \(digest) of \(length) bytes cannot be appended to \(name)")
            }
            let entry = DynamicIndexEntry(end: offset + UInt64(length), digest: digest)
            do { try state.checksum.add(entry) } catch {
                throw BackupFailure(.invalidInput, "Chunk \(digest) cannot be appended to \(name)", cause: error)
            }
            entry.append(to: &state.buffer)
            if state.buffer.count >= Self.bufferLimit { try flush(&state, file) }
        }
    }

    private func flush(_ state: inout State, _ file: IndexFile) throws {
        try storing("Index \(name) cannot be written") {
            try options.beforeStep(.indexAppend)
            try file.file.write(state.buffer, at: DynamicIndexHeader.byteCount + state.written)
        }
        state.written += state.buffer.count
        state.buffer.removeAll(keepingCapacity: true)
    }

    func close(chunkCount: Int, size: UInt64, checksum: [UInt8]) throws -> IndexSummary {
        try state.withLock { state in
            guard let file = state.file else { throw Self.closed(name) }
            state.file = nil
            do {
                let own = state.checksum
                if chunkCount != own.count { throw Self.mismatch(name, "the number of chunks", chunkCount, own.count) }
                if size != own.size { throw Self.mismatch(name, "the size", size, own.size) }
                guard own.count > 0 else { throw BackupFailure(.invalidInput, "Index \(name) has no entries") }
                if checksum != own.value.bytes {
                    throw Self.mismatch(name, "the checksum", Hex.encode(checksum), own.value)
                }
                try flush(&state, file)
                try storing("Index \(name) cannot be closed") {
                    try options.beforeStep(.indexClose)
                    let header = DynamicIndexHeader(uuid: uuid, creationTime: options.time.seconds, checksum: own.value)
                    try file.file.write(header.encoded, at: 0)
                    try file.finish()
                }
                return IndexSummary(name: name, size: own.size, checksum: own.value, chunkCount: own.count)
            } catch {
                file.remove()
                throw error
            }
        }
    }

    func discard() {
        state.withLock { state in
            state.file?.remove()
            state.file = nil
        }
    }
}

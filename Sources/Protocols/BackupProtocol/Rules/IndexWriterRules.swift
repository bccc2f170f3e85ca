import BackupFormats

/// The rules of one index writer. (Spec: protocol B.1, append and close.)
struct IndexWriterRules {
    let kind: WriterKind
    let name: ArchiveName
    /// Of the image, where the kind is fixed.
    let imageSize: UInt64
    /// Whether entries of the base were copied, so that only changed ones are counted.
    let isIncremental: Bool
    private(set) var statistics = BackupSessionRules.Statistics()
    /// Entries taken; an entry that is overwritten counts again.
    private var entryCount: UInt64 = 0
    /// Where the next chunk of a dynamic index starts.
    private var end: UInt64 = 0
    private var hasShortChunk = false

    private static let chunkSize = UInt64(SessionLimits.fixedChunkBytes)

    init(kind: WriterKind, name: ArchiveName, size: UInt64, isIncremental: Bool) {
        self.kind = kind
        self.name = name
        imageSize = size
        self.isIncremental = isIncremental
    }

    private func refusal(_ text: String) -> BackupFailure {
        BackupFailure(.invalidInput, "\(kind.rawValue) writer '\(name)' \(text)")
    }

    /// A fixed index has at most one chunk that is shorter than the others, at its end; each upload of it counts.
    mutating func beginChunk(size: Int) throws(BackupFailure) {
        guard kind == .fixed else { return }
        guard size <= SessionLimits.fixedChunkBytes else {
            throw refusal("- got large chunk (\(size) > \(SessionLimits.fixedChunkBytes))")
        }
        if size < SessionLimits.fixedChunkBytes {
            guard !hasShortChunk else { throw refusal("- detected multiple end chunks (chunk size too small)") }
            hasShortChunk = true
        }
    }

    mutating func chunkFailed(size: Int) {
        if kind == .fixed, size < SessionLimits.fixedChunkBytes { hasShortChunk = false }
    }

    mutating func chunkStored(size: Int, storedSize: Int, isDuplicate: Bool) {
        statistics.count &+= 1
        statistics.size &+= UInt64(size)
        statistics.compressedSize &+= UInt64(storedSize)
        if isDuplicate { statistics.duplicates &+= 1 }
    }

    mutating func append(offset: UInt64, length: Int) throws(BackupFailure) {
        switch kind {
        case .dynamic: try appendDynamic(offset: offset, length: UInt64(length))
        case .fixed: try checkFixed(offset: offset, length: UInt64(length))
        }
        entryCount &+= 1
    }

    private mutating func appendDynamic(offset: UInt64, length: UInt64) throws(BackupFailure) {
        guard offset == end else {
            throw refusal("append chunk failed - got strange chunk offset (\(end) != \(offset))")
        }
        let (sum, overflow) = end.addingReportingOverflow(length)
        guard !overflow, sum <= UInt64(Int64.max) else { throw refusal("append chunk failed - archive is too large") }
        end = sum
    }

    private func checkFixed(offset: UInt64, length: UInt64) throws(BackupFailure) {
        let (chunkEnd, overflow) = offset.addingReportingOverflow(length)
        guard !overflow, chunkEnd <= imageSize else {
            throw refusal(
                "append chunk failed - chunk data exceeds size (\(overflow ? offset : chunkEnd) >= \(imageSize))")
        }
        guard length == Self.chunkSize || chunkEnd == imageSize else {
            throw refusal("append chunk failed - chunk with unexpected length (\(length) != \(Self.chunkSize))")
        }
        guard offset.isMultiple(of: Self.chunkSize) else {
            throw refusal("append chunk failed - got unaligned chunk (pos = \(offset))")
        }
        guard length <= Self.chunkSize else {
            throw refusal("append chunk failed - chunk with unexpected length (\(length) != \(Self.chunkSize))")
        }
    }

    func checkClose(chunkCount: UInt64, size: UInt64) throws(BackupFailure) {
        switch kind {
        case .dynamic:
            guard chunkCount == entryCount else {
                throw refusal("close failed - unexpected chunk count (\(entryCount) != \(chunkCount))")
            }
            guard size == end else { throw refusal("close failed - unexpected file size (\(end) != \(size))") }
        case .fixed:
            guard chunkCount == entryCount else {
                throw refusal("close failed - received wrong number of chunk (\(entryCount) != \(chunkCount))")
            }
            if isIncremental { return }
            let total = imageSize / Self.chunkSize + (imageSize.isMultiple(of: Self.chunkSize) ? 0 : 1)
            guard chunkCount == total else {
                throw refusal("close failed - unexpected chunk count (\(total) != \(chunkCount))")
            }
            guard size == imageSize else {
                throw refusal("close failed - unexpected file size (\(imageSize) != \(size))")
            }
        }
    }
}

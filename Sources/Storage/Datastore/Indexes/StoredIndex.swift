package import BackupFormats
package import Platform
import Crypto

/// One chunk of an archive.
package struct IndexEntry: Hashable, Sendable {
    package var digest: ChunkDigest
    /// Start of the chunk in the archive.
    package var offset: UInt64
    /// Plain bytes, as the index has them.
    package var length: Int
}

/// An index file on disk, read in pieces: memory does not grow with the archive.
package final class StoredIndex: Sendable {
    /// Entries that are read at once.
    private static let entriesPerPiece = 4096

    private enum Layout: Sendable {
        case fixed(FixedIndexHeader)
        case dynamic(DynamicIndexHeader)

        var entryByteCount: Int {
            switch self {
            case .fixed: FixedIndexHeader.entryByteCount
            case .dynamic: DynamicIndexHeader.entryByteCount
            }
        }
    }

    package let name: ArchiveName
    /// The whole file, to be sent as it is.
    package let file: OpenFile
    package let byteCount: Int
    /// Chunks.
    package let count: Int
    /// Bytes of the archive.
    package let logicalSize: UInt64
    /// The checksum that the header has; ``computeChecksum()`` gives the true one.
    package let storedChecksum: ChunkDigest
    private let layout: Layout

    /// - Throws: ``BackupFailure``: `noSuchObject` where there is no such file, `corruptData` where it is no index
    ///   of the kind that its name says, `invalidInput` for a blob's name.
    convenience init(_ name: ArchiveName, folder: String, in snapshot: String) throws {
        try self.init(name, path: "\(folder)/\(name)", in: snapshot)
    }

    /// An index under another file name than its own.
    init(_ name: ArchiveName, path: String, in snapshot: String) throws {
        self.name = name
        (file, byteCount, layout, count, logicalSize, storedChecksum) = try storing(
            "Index \(name) of \(snapshot) cannot be opened"
        ) {
            let file = try OpenFile(path, followsLinks: false)
            let byteCount = try file.byteCount()
            let head = try file.read(at: 0, count: IndexLayout.headerByteCount)
            var reader = ByteReader(head.span)
            switch name.kind {
            case .fixedIndex:
                let header = try FixedIndexHeader(from: &reader)
                guard byteCount == header.fileByteCount else {
                    throw FormatError.truncated(offset: byteCount, needed: header.fileByteCount, available: byteCount)
                }
                return (file, byteCount, .fixed(header), header.entryCount, header.size, header.checksum)
            case .dynamicIndex:
                let header = try DynamicIndexHeader(from: &reader)
                let count = try DynamicIndexHeader.entryCount(ofFileByteCount: byteCount)
                var size: UInt64 = 0
                if count > 0 {
                    let last = try file.read(at: DynamicIndexHeader.offset(ofEntry: count - 1), count: 8)
                    var reader = ByteReader(last.span)
                    size = try reader.read()
                }
                return (file, byteCount, .dynamic(header), count, size, header.checksum)
            case .blob:
                throw BackupFailure(.invalidInput, "\(name) is not an index")
            }
        }
    }

    /// The image's size in chunks of this many bytes; nil for a dynamic index.
    package var fixedChunkByteCount: Int? {
        if case .fixed(let header) = layout { header.chunkByteCount } else { nil }
    }

    /// Calls `body` for each chunk, in the order of the archive.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where the entries of a dynamic index are out of order, or one
    ///   is longer than a chunk may be.
    package func forEach(_ body: (IndexEntry) throws -> Void) throws {
        var start: UInt64 = 0
        try forEachPiece { first, piece in
            var reader = ByteReader(piece.span)
            switch layout {
            case .fixed(let header):
                var offset = UInt64(first) * UInt64(header.chunkByteCount)
                while reader.remaining > 0 {
                    let length = min(UInt64(header.chunkByteCount), header.size - offset)
                    try body(IndexEntry(digest: ChunkDigest(from: &reader), offset: offset, length: Int(length)))
                    offset += length
                }
            case .dynamic:
                while reader.remaining > 0 {
                    let entry = try DynamicIndexEntry(from: &reader)
                    guard entry.end > start, entry.end - start <= BlobLimits.maxChunkContent else {
                        throw FormatError.invalid(
                            "an entry ends at \(entry.end), and starts at \(start)", offset: reader.offset)
                    }
                    try body(IndexEntry(digest: entry.digest, offset: start, length: Int(entry.end - start)))
                    start = entry.end
                }
            }
        }
    }

    /// The chunks of some places of the archive, for those who do not want all at once.
    ///
    /// - Throws: As ``forEach(_:)``.
    package func entries(_ range: Range<Int>) throws -> [IndexEntry] {
        let range = range.clamped(to: 0..<count)
        let size = layout.entryByteCount
        return try storing("Index \(name) cannot be read") {
            // The entry in front says where the first chunk starts.
            let first = max(0, range.lowerBound - 1)
            let wanted = (range.upperBound - first) * size
            let piece = try file.read(at: IndexLayout.headerByteCount + first * size, count: wanted)
            guard piece.count == wanted else {
                throw FormatError.truncated(offset: byteCount, needed: wanted, available: piece.count)
            }
            var reader = ByteReader(piece.span)
            var result: [IndexEntry] = []
            result.reserveCapacity(range.count)
            var start: UInt64 = 0
            for place in first..<range.upperBound {
                let digest: ChunkDigest
                let end: UInt64
                switch layout {
                case .fixed(let header):
                    digest = try ChunkDigest(from: &reader)
                    start = UInt64(place) * UInt64(header.chunkByteCount)
                    end = min(start + UInt64(header.chunkByteCount), header.size)
                case .dynamic:
                    let entry = try DynamicIndexEntry(from: &reader)
                    (digest, end) = (entry.digest, entry.end)
                    guard place < range.lowerBound || end > start && end - start <= BlobLimits.maxChunkContent else {
                        throw FormatError.invalid(
                            "an entry ends at \(end), and starts at \(start)", offset: reader.offset)
                    }
                }
                if place >= range.lowerBound {
                    result.append(IndexEntry(digest: digest, offset: start, length: Int(end - start)))
                }
                start = end
            }
            return result
        }
    }

    /// Reads the whole table and gives the checksum that a manifest must list.
    package func computeChecksum() throws -> ChunkDigest {
        var hasher = SHA256()
        try forEachPiece { _, piece in hasher.update(data: piece) }
        return ChunkDigest(hasher.finalize())
    }

    /// Calls `body` with whole entries, and the number of the first.
    func forEachPiece(_ body: (Int, [UInt8]) throws -> Void) throws {
        let entry = layout.entryByteCount
        try storing("Index \(name) cannot be read") {
            for first in stride(from: 0, to: count, by: Self.entriesPerPiece) {
                let wanted = min(Self.entriesPerPiece, count - first) * entry
                let piece = try file.read(at: IndexLayout.headerByteCount + first * entry, count: wanted)
                guard piece.count == wanted else {
                    throw FormatError.truncated(offset: byteCount, needed: wanted, available: piece.count)
                }
                try body(first, piece)
            }
        }
    }
}

import BackupFormats
import Crypto
import Platform

/// Reads one index after the other from front to back in big pieces, and checks each as a whole: what a damaged index
/// references is not known, so no chunk may be removed then.
final class IndexScan {
    /// Bytes that are read at once: a multiple of both entry sizes.
    private static let pieceByteCount = 160 * 8192

    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceByteCount, alignment: 16)

    deinit { buffer.deallocate() }

    /// Calls `body` with whole entries: their bytes, the size of one, and where in an entry its digest starts.
    ///
    /// - Returns: Logical bytes and entries; nil where the file vanished.
    /// - Throws: ``BackupFailure`` of kind `corruptData` where it is no whole index, or its checksum is wrong.
    func scan(
        _ path: String, _ body: (UnsafeRawBufferPointer, _ stride: Int, _ digestOffset: Int) throws -> Void
    ) throws -> (size: UInt64, count: Int)? {
        do {
            let file: OpenFile
            do throws(SystemError) { file = try OpenFile(path) } catch {
                if error.isMissing { return nil }
                throw error
            }
            let table = try readHeader(file, isFixed: path.hasSuffix(".fidx"))
            var hasher = SHA256()
            var end: UInt64 = 0
            var offset = IndexLayout.headerByteCount
            while offset < table.fileByteCount {
                let wanted = min(Self.pieceByteCount, table.fileByteCount - offset)
                let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
                let got = try file.read(into: piece, at: offset)
                guard got == wanted else {
                    throw FormatError.truncated(offset: offset, needed: wanted, available: got)
                }
                let entries = UnsafeRawBufferPointer(piece)
                hasher.update(bufferPointer: entries)
                if !table.isFixed { end = try Self.checkEnds(entries, after: end, at: offset) }
                try body(entries, table.stride, table.isFixed ? 0 : 8)
                offset += wanted
            }
            guard ChunkDigest(hasher.finalize()) == table.checksum else {
                throw FormatError.invalid("the checksum of its entries is wrong", offset: IndexLayout.checksumOffset)
            }
            return (table.isFixed ? table.size : end, table.count)
        } catch let error as FormatError {
            throw BackupFailure(
                .corruptData, "Index \(path) is damaged, so no chunk is removed",
                hints: ["Remove the snapshot, or bring the index back from a copy; then collect garbage again."],
                cause: error)
        } catch let error as SystemError {
            throw error.failure("Index \(path) cannot be read, so no chunk is removed")
        }
    }

    private struct Table {
        let isFixed: Bool
        let size: UInt64
        let count: Int
        let fileByteCount: Int
        let checksum: ChunkDigest
        var stride: Int { isFixed ? FixedIndexHeader.entryByteCount : DynamicIndexHeader.entryByteCount }
    }

    private func readHeader(_ file: OpenFile, isFixed: Bool) throws -> Table {
        let byteCount = try file.byteCount()
        let head = try file.read(at: 0, count: IndexLayout.headerByteCount)
        var reader = ByteReader(head.span)
        if isFixed {
            let header = try FixedIndexHeader(from: &reader)
            guard byteCount == header.fileByteCount else {
                throw FormatError.truncated(offset: byteCount, needed: header.fileByteCount, available: byteCount)
            }
            return Table(
                isFixed: true, size: header.size, count: header.entryCount, fileByteCount: byteCount,
                checksum: header.checksum)
        }
        let header = try DynamicIndexHeader(from: &reader)
        return Table(
            isFixed: false, size: 0, count: try DynamicIndexHeader.entryCount(ofFileByteCount: byteCount),
            fileByteCount: byteCount, checksum: header.checksum)
    }

    /// - Returns: Where the last entry ends.
    private static func checkEnds(
        _ entries: UnsafeRawBufferPointer, after start: UInt64, at offset: Int
    ) throws -> UInt64 {
        var end = start
        for place in stride(from: 0, to: entries.count, by: DynamicIndexHeader.entryByteCount) {
            let next = UInt64(littleEndian: entries.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            guard next > end else {
                throw FormatError.invalid("an entry ends at \(next), and starts at \(end)", offset: offset + place)
            }
            end = next
        }
        return end
    }
}

/// Writes blocks so that zeros take no room where the file has none yet.
enum SparseWriting {
    /// Runs of zeros shorter than this are written.
    private static let grain = 32 << 10

    /// Writes a block's bitmap and data at `place`, leaving out zeros behind `knownZeroFrom`, where the file was never
    /// written. The file may end before the block does, where that ends with zeros.
    static func write(
        _ bitmap: [UInt8], _ data: [UInt8], to file: any RandomAccess, at place: UInt64, knownZeroFrom: UInt64
    ) async throws {
        let start = place + UInt64(bitmap.count)
        var pending = 0
        var hasBitmap = false
        var offset = 0
        /// Writes `pending..<upTo`, with the bitmap in front where it belongs there.
        func flush(_ upTo: Int) async throws {
            if !hasBitmap, pending == 0 {
                try await file.write(bitmap + data[..<upTo], at: place)
            } else if upTo > pending {
                try await file.write(Array(data[pending..<upTo]), at: start + UInt64(pending))
            }
            hasBitmap = true
        }
        while offset < data.count {
            let next = min(data.count, offset + grain)
            if start + UInt64(offset) >= knownZeroFrom, ZeroBytes.isZero(data, offset..<next) {
                try await flush(offset)
                pending = next
            }
            offset = next
        }
        try await flush(data.count)
    }
}

package import BackupFormats

/// The checksum field of a whole blob, which covers what follows the header.
package enum BlobChecksum {
    /// - Throws: ``FormatError``: no blob, or ``FormatError/checksumMismatch(stored:computed:)``.
    @discardableResult
    package static func verify(_ blob: [UInt8]) throws(FormatError) -> DataBlobHeader {
        let header = try DataBlobHeader(parsing: blob)
        let computed = compute(blob, header)
        guard computed == header.checksum else {
            throw .checksumMismatch(stored: header.checksum, computed: computed)
        }
        return header
    }

    @discardableResult
    package static func verify(_ blob: UnsafeRawBufferPointer) throws(FormatError) -> DataBlobHeader {
        let header = try DataBlobHeader(parsing: [UInt8](blob.prefix(longestHeader)))
        let computed = CRC32.checksum(of: UnsafeRawBufferPointer(rebasing: blob[header.encoding.headerByteCount...]))
        guard computed == header.checksum else {
            throw .checksumMismatch(stored: header.checksum, computed: computed)
        }
        return header
    }

    private static let longestHeader = DataBlobHeader.Encoding.encrypted.headerByteCount

    /// The same blob with the right checksum, whatever stood there. Give the array away to spare a copy.
    ///
    /// - Throws: ``FormatError`` where the bytes are no blob.
    package static func corrected(_ blob: consuming [UInt8]) throws(FormatError) -> [UInt8] {
        var result = consume blob
        let header = try DataBlobHeader(parsing: result)
        let computed = compute(result, header)
        if computed != header.checksum {
            for index in 0..<4 { result[8 + index] = UInt8(truncatingIfNeeded: computed >> (8 * index)) }
        }
        return result
    }

    private static func compute(_ blob: [UInt8], _ header: DataBlobHeader) -> UInt32 {
        blob.withUnsafeBytes {
            CRC32.checksum(of: UnsafeRawBufferPointer(rebasing: $0[header.encoding.headerByteCount...]))
        }
    }
}

/// The same blob with the right checksum. Short for ``BlobChecksum/corrected(_:)``.
package func withChecksum(_ blob: consuming [UInt8]) throws(FormatError) -> [UInt8] {
    try BlobChecksum.corrected(blob)
}

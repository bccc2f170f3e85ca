private import BackupFormats
private import CDeflate

/// The checksum of blobs: CRC-32 of IEEE 802.3, the one of zlib.
package enum CRC32 {
    package static func checksum(of bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard let start = bytes.baseAddress else { return 0 }
        return libdeflate_crc32(0, start, bytes.count)
    }

    package static func checksum(of bytes: [UInt8]) -> UInt32 {
        bytes.withUnsafeBytes { checksum(of: $0) }
    }
}

/// The same checksum of bytes that come in pieces.
package struct RunningCRC32: Sendable {
    package private(set) var value: UInt32 = 0

    package init() {}

    package mutating func add(_ bytes: [UInt8]) {
        value = bytes.withUnsafeBytes { libdeflate_crc32(value, $0.baseAddress, $0.count) }
    }
}

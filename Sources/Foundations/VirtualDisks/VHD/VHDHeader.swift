package import BackupFormats

/// The 1024 bytes behind the first footer: where the table lies, and who the parent is. (Spec: xo-proxy §7.2.)
///
/// | Offset | Size | Field           |                                                        |
/// |-------:|-----:|-----------------|--------------------------------------------------------|
/// |      0 |    8 | cookie          | `cxsparse`                                             |
/// |      8 |    8 | data offset     | all ones                                               |
/// |     16 |    8 | tableOffset     | of the block table                                     |
/// |     24 |    4 | version         | 0x00010000                                             |
/// |     28 |    4 | maxTableEntries |                                                        |
/// |     32 |    4 | blockBytes      | 512 × 2^k                                              |
/// |     36 |    4 | checksum        | of the 1024 bytes                                      |
/// |     40 |   16 | parentUUID      | uuid of the parent's footer; zero without parent       |
/// |     56 |    4 | parentTimeStamp |                                                        |
/// |     60 |    4 | reserved        | 0                                                      |
/// |     64 |  512 | parentName      | UTF-16BE: path relative to the folder of this file     |
/// |    576 |  192 | locators        | eight of 24 bytes                                      |
/// |    768 |  256 | reserved        | 0                                                      |
package struct VHDHeader: Sendable, Equatable {
    package static let byteCount = 1024
    /// Where it lies in a file.
    package static let offset = 512
    /// UTF-16 code units that fit into the parent's name.
    package static let parentNameUnits = 256
    private static let cookie: UInt64 = 0x6378_7370_6172_7365
    private static let version: UInt32 = 0x0001_0000
    private static let checksumOffset = 36
    private static let locatorCount = 8

    /// Bytes elsewhere in the file that name the parent for a platform: `W2ru`, `W2ku`, `MacX`. Kept, never followed.
    package struct Locator: Sendable, Equatable {
        package var code: UInt32
        /// Space set aside: sectors by the specification, bytes by some writers.
        package var space: UInt32
        package var byteCount: UInt32
        package var offset: UInt64

        package init(code: UInt32, space: UInt32, byteCount: UInt32, offset: UInt64) {
            self.code = code
            self.space = space
            self.byteCount = byteCount
            self.offset = offset
        }
    }

    package var tableOffset: UInt64
    package var maxTableEntries: Int
    package var blockBytes: Int
    package var parentUUID: DiskUUID
    package var parentTimeStamp: UInt32
    package var parentName: String
    package var locators: [Locator]

    /// Of a new disk of `size` bytes whose table follows the header at once.
    ///
    /// - Parameter parent: Of a differencing disk: uuid and relative path of the parent. What is longer than
    ///   ``parentNameUnits`` is cut.
    package init(size: UInt64, parent: (uuid: DiskUUID, name: String)? = nil) {
        tableOffset = UInt64(Self.offset + Self.byteCount)
        maxTableEntries = DiskGeometry.blockCount(size)
        blockBytes = DiskGeometry.blockBytes
        parentUUID = parent?.uuid ?? .zero
        parentTimeStamp = 0
        parentName = parent?.name ?? ""
        locators = []
    }

    /// First byte behind the table, which ends with a whole sector.
    package var tableEnd: UInt64 { tableOffset + UInt64(VHDBlockTable.byteCount(entryCount: maxTableEntries)) }

    /// - Throws: ``FormatError`` where these are not 1024 bytes of a header with a right checksum, a table within
    ///   ``VHDLimits/tableEntries``, and blocks of 2 MiB.
    package init(parsing bytes: [UInt8]) throws(FormatError) {
        var reader = ByteReader(bytes.span)
        guard try reader.readBigEndian(UInt64.self) == Self.cookie else {
            throw .invalid("no header of a dynamic VHD", offset: 0)
        }
        try reader.skip(8)
        tableOffset = try reader.readBigEndian()
        guard try reader.readBigEndian(UInt32.self) == Self.version else {
            throw .invalid("unknown version of the VHD header", offset: 24)
        }
        let entries: UInt32 = try reader.readBigEndian()
        let blockBytes: UInt32 = try reader.readBigEndian()
        let stored: UInt32 = try reader.readBigEndian()
        parentUUID = try DiskUUID(from: &reader)
        parentTimeStamp = try reader.readBigEndian()
        try reader.skip(4)
        parentName = try Self.readName(&reader)
        locators = []
        for _ in 0..<Self.locatorCount {
            let code: UInt32 = try reader.readBigEndian()
            let space: UInt32 = try reader.readBigEndian()
            let byteCount: UInt32 = try reader.readBigEndian()
            try reader.skip(4)
            let offset: UInt64 = try reader.readBigEndian()
            if code != 0 {
                locators.append(Locator(code: code, space: space, byteCount: byteCount, offset: offset))
            }
        }
        try reader.skip(Self.byteCount - reader.offset)

        let whole = bytes.count == Self.byteCount ? bytes : Array(bytes[..<Self.byteCount])
        let computed = VHDChecksum.compute(whole, fieldAt: Self.checksumOffset)
        guard stored == computed else { throw .checksumMismatch(stored: stored, computed: computed) }
        guard blockBytes >= 512, blockBytes.nonzeroBitCount == 1 else {
            throw .invalid("blocks of \(blockBytes) bytes are not 512 times a power of two", offset: 32)
        }
        guard blockBytes == UInt32(DiskGeometry.blockBytes) else {
            throw .invalid("blocks of \(blockBytes) bytes are not supported; 2 MiB are", offset: 32)
        }
        self.blockBytes = Int(blockBytes)
        guard Int(entries) <= VHDLimits.tableEntries else {
            throw .tooLong(UInt64(entries), limit: VHDLimits.tableEntries, offset: 28)
        }
        maxTableEntries = Int(entries)
        let first = UInt64(Self.offset + Self.byteCount)
        guard tableOffset >= first, tableOffset % 512 == 0, tableOffset < UInt64(UInt32.max) * 512 else {
            throw .invalid("the block table lies where none can be", offset: 16)
        }
    }

    /// The 1024 bytes, with their checksum. More than eight locators are left out.
    package func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        bytes.appendBigEndian(Self.cookie)
        bytes.appendBigEndian(UInt64.max)
        bytes.appendBigEndian(tableOffset)
        bytes.appendBigEndian(Self.version)
        bytes.appendBigEndian(UInt32(clamping: maxTableEntries))
        bytes.appendBigEndian(UInt32(clamping: blockBytes))
        bytes.appendBigEndian(UInt32(0))
        bytes.append(contentsOf: parentUUID.bytes)
        bytes.appendBigEndian(parentTimeStamp)
        bytes.appendZeros(4)
        let name = Array(parentName.utf16.prefix(Self.parentNameUnits))
        for unit in name { bytes.appendBigEndian(unit) }
        bytes.appendZeros(2 * (Self.parentNameUnits - name.count))
        for locator in locators.prefix(Self.locatorCount) {
            bytes.appendBigEndian(locator.code)
            bytes.appendBigEndian(locator.space)
            bytes.appendBigEndian(locator.byteCount)
            bytes.appendZeros(4)
            bytes.appendBigEndian(locator.offset)
        }
        bytes.appendZeros(Self.byteCount - bytes.count)
        VHDChecksum.write(into: &bytes, at: Self.checksumOffset)
        return bytes
    }

    private static func readName(_ reader: inout ByteReader) throws(FormatError) -> String {
        var units: [UInt16] = []
        var isOver = false
        for _ in 0..<parentNameUnits {
            let unit: UInt16 = try reader.readBigEndian()
            if unit == 0 { isOver = true }
            if !isOver { units.append(unit) }
        }
        return String(decoding: units, as: UTF16.self)
    }
}

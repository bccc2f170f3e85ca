package import BackupFormats

/// The first and the last 512 bytes of a VHD. All integers are big-endian. (Spec: xo-proxy §7.1.)
///
/// | Offset | Size | Field              |                                         |
/// |-------:|-----:|--------------------|-----------------------------------------|
/// |      0 |    8 | cookie             | `conectix`                              |
/// |      8 |    4 | features           |                                         |
/// |     12 |    4 | version            | 0x00010000                              |
/// |     16 |    8 | data offset        | of the header: 512                      |
/// |     24 |    4 | time stamp         | never relied on                         |
/// |     28 |    4 | creatorApplication |                                         |
/// |     32 |    4 | creatorVersion     |                                         |
/// |     36 |    4 | creatorOS          |                                         |
/// |     40 |    8 | originalSize       | bytes                                   |
/// |     48 |    8 | currentSize        | bytes; the disk's virtual size          |
/// |     56 |    4 | geometry           | cylinders (2), heads (1), sectors (1)   |
/// |     60 |    4 | type               | 3 dynamic, 4 differencing               |
/// |     64 |    4 | checksum           | of the 512 bytes                        |
/// |     68 |   16 | uuid               | identity of this disk, named by children |
/// |     84 |    1 | savedState         |                                         |
/// |     85 |  427 | reserved           | 0                                       |
package struct VHDFooter: Sendable, Equatable {
    package static let byteCount = 512
    private static let cookie: UInt64 = 0x636f_6e65_6374_6978
    private static let version: UInt32 = 0x0001_0000
    private static let checksumOffset = 64

    package enum DiskType: UInt32, Sendable {
        /// Absent blocks are zeros.
        case dynamic = 3
        /// Absent blocks, and sectors whose bit is clear, are those of the parent.
        case differencing = 4
    }

    package var features: UInt32 = 2
    package var timeStamp: UInt32 = 0
    /// `win `: tools that do not know the creator, `qemu-img` among them, compute the disk's size from the geometry,
    /// which is seldom exact; from this one they take the size fields.
    package var creatorApplication: UInt32 = 0x7769_6e20
    package var creatorVersion: UInt32 = 0
    /// `Wi2k`.
    package var creatorOS: UInt32 = 0x5769_326b
    package var originalSize: UInt64
    package var currentSize: UInt64
    package var geometry: VHDGeometry
    package var type: DiskType
    package var uuid: DiskUUID
    package var savedState: UInt8 = 0

    /// Of a new disk.
    package init(size: UInt64, type: DiskType, uuid: DiskUUID, timeStamp: UInt32 = 0) {
        originalSize = size
        currentSize = size
        geometry = VHDGeometry(diskOf: size)
        self.type = type
        self.uuid = uuid
        self.timeStamp = timeStamp
    }

    /// - Throws: ``FormatError`` where these are not 512 bytes of a footer of a dynamic or differencing disk of at most
    ///   ``VHDLimits/diskBytes``, with a right checksum.
    package init(parsing bytes: [UInt8]) throws(FormatError) {
        var reader = ByteReader(bytes.span)
        guard try reader.readBigEndian(UInt64.self) == Self.cookie else {
            throw .invalid("no footer of a VHD", offset: 0)
        }
        features = try reader.readBigEndian()
        guard try reader.readBigEndian(UInt32.self) == Self.version else {
            throw .invalid("unknown version of the VHD footer", offset: 12)
        }
        let dataOffset: UInt64 = try reader.readBigEndian()
        timeStamp = try reader.readBigEndian()
        creatorApplication = try reader.readBigEndian()
        creatorVersion = try reader.readBigEndian()
        creatorOS = try reader.readBigEndian()
        originalSize = try reader.readBigEndian()
        currentSize = try reader.readBigEndian()
        geometry = VHDGeometry(
            cylinders: try reader.readBigEndian(), heads: try reader.read(), sectorsPerTrack: try reader.read())
        let rawType: UInt32 = try reader.readBigEndian()
        let stored: UInt32 = try reader.readBigEndian()
        uuid = try DiskUUID(from: &reader)
        savedState = try reader.read()
        try reader.skip(Self.byteCount - reader.offset)

        let whole = bytes.count == Self.byteCount ? bytes : Array(bytes[..<Self.byteCount])
        let computed = VHDChecksum.compute(whole, fieldAt: Self.checksumOffset)
        guard stored == computed else { throw .checksumMismatch(stored: stored, computed: computed) }
        guard let type = DiskType(rawValue: rawType) else {
            throw .invalid("a VHD of type \(rawType); dynamic (3) and differencing (4) are known", offset: 60)
        }
        self.type = type
        guard dataOffset == UInt64(VHDHeader.offset) else {
            throw .invalid("the VHD header does not follow the footer", offset: 16)
        }
        guard currentSize <= VHDLimits.diskBytes else {
            throw .tooLong(currentSize, limit: Int(VHDLimits.diskBytes), offset: 48)
        }
        guard originalSize <= currentSize else {
            throw .invalid("the disk's original size is above its current size", offset: 40)
        }
    }

    /// The 512 bytes, with their checksum.
    package func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        bytes.appendBigEndian(Self.cookie)
        bytes.appendBigEndian(features)
        bytes.appendBigEndian(Self.version)
        bytes.appendBigEndian(UInt64(VHDHeader.offset))
        bytes.appendBigEndian(timeStamp)
        bytes.appendBigEndian(creatorApplication)
        bytes.appendBigEndian(creatorVersion)
        bytes.appendBigEndian(creatorOS)
        bytes.appendBigEndian(originalSize)
        bytes.appendBigEndian(currentSize)
        bytes.appendBigEndian(geometry.cylinders)
        bytes.append(geometry.heads)
        bytes.append(geometry.sectorsPerTrack)
        bytes.appendBigEndian(type.rawValue)
        bytes.appendBigEndian(UInt32(0))
        bytes.append(contentsOf: uuid.bytes)
        bytes.append(savedState)
        bytes.appendZeros(Self.byteCount - bytes.count)
        VHDChecksum.write(into: &bytes, at: Self.checksumOffset)
        return bytes
    }
}

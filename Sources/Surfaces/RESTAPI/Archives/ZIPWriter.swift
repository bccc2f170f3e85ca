import BackupFormats
import BlobCoding
import Pxar

/// Writes a ZIP archive front to back, with the extensions for sizes above 4 GiB (ZIP64, APPNOTE 4.3).
///
/// Small files are compressed and have their size in front; large ones are stored as they are, and their checksum and
/// size follow them. Folders, files and symbolic links only: ZIP knows nothing else.
struct ZIPWriter: FolderWriter {
    static let contentType = "application/zip"
    static let keepsHardLinks = false
    /// Files up to this size are gathered and compressed.
    private static let gatherLimit: UInt64 = 4 << 20
    /// Bytes of the directory at the end, which is kept in memory until then.
    private static let directoryLimit = 64 << 20
    private static let markers = (local: UInt32(0x0403_4b50), central: UInt32(0x0201_4b50), data: UInt32(0x0807_4b50))

    private struct Member {
        var name: [UInt8]
        var mode: UInt64
        var modified: Int64
        var offset: UInt64
        var size: UInt64
        var isDeflated = false
        /// Whether checksum and size stand behind the content.
        var isStreamed = false
        var checksum: UInt32 = 0
        var stored: UInt64 = 0
    }

    private var position: UInt64 = 0
    private var directory: [UInt8] = []
    private var count: UInt64 = 0
    private var current: Member?
    private var gathered: [UInt8] = []
    private var checksum = RunningCRC32()

    mutating func entry(_ entry: FolderEntry) throws -> [UInt8] {
        var member = Member(
            name: entry.path, mode: entry.metadata.stat.mode, modified: entry.metadata.stat.mtime.seconds,
            offset: position, size: entry.size)
        switch entry.kind {
        case .directory:
            member.name.append(UInt8(ascii: "/"))
            return try complete(member, content: [])
        case .symlink(let target): return try complete(member, content: target)
        case .file, .hardLink:
            guard entry.size > Self.gatherLimit else {
                current = member
                gathered = []
                return []
            }
            member.isStreamed = true
            member.stored = entry.size
            current = member
            checksum = RunningCRC32()
            return advance(Self.localHeader(member))
        case .device, .fifo, .socket: return []
        }
    }

    mutating func content(_ bytes: [UInt8]) throws -> [UInt8] {
        guard current?.isStreamed == true else {
            gathered += bytes
            return []
        }
        checksum.add(bytes)
        position += UInt64(bytes.count)
        return bytes
    }

    mutating func contentEnd() throws -> [UInt8] {
        guard var member = current else { return [] }
        current = nil
        guard member.isStreamed else {
            let content = gathered
            gathered = []
            return try complete(member, content: content)
        }
        member.checksum = checksum.value
        try list(member)
        var descriptor: [UInt8] = []
        descriptor.appendLittleEndian(Self.markers.data)
        descriptor.appendLittleEndian(member.checksum)
        descriptor.appendLittleEndian(member.stored)
        descriptor.appendLittleEndian(member.size)
        return advance(descriptor)
    }

    /// A member whose content is in memory.
    private mutating func complete(_ given: Member, content: [UInt8]) throws -> [UInt8] {
        var member = given
        member.size = UInt64(content.count)
        member.checksum = CRC32.checksum(of: content)
        var stored = content
        if content.count > 64, let deflated = Deflate.raw(content), deflated.count < content.count {
            stored = deflated
            member.isDeflated = true
        }
        member.stored = UInt64(stored.count)
        try list(member)
        return advance(Self.localHeader(member) + stored)
    }

    private mutating func advance(_ bytes: [UInt8]) -> [UInt8] {
        position += UInt64(bytes.count)
        return bytes
    }

    mutating func end() throws -> [UInt8] {
        let start = position
        var output = directory
        let directoryBytes = UInt64(directory.count)
        directory = []
        let record = start + directoryBytes
        output.appendLittleEndian(UInt32(0x0606_4b50))
        output.appendLittleEndian(UInt64(44))
        output.appendLittleEndian(Self.madeBy)
        output.appendLittleEndian(Self.versionNeeded)
        output.appendLittleEndian(UInt64(0))
        for value in [count, count, directoryBytes, start] { output.appendLittleEndian(value) }
        output.appendLittleEndian(UInt32(0x0706_4b50))
        output.appendLittleEndian(UInt32(0))
        output.appendLittleEndian(record)
        output.appendLittleEndian(UInt32(1))
        output.appendLittleEndian(UInt32(0x0605_4b50))
        output.appendLittleEndian(UInt32(0))
        let shortCount = UInt16(clamping: count)
        output.appendLittleEndian(shortCount)
        output.appendLittleEndian(shortCount)
        output.appendLittleEndian(UInt32(clamping: directoryBytes))
        output.appendLittleEndian(UInt32(clamping: start))
        output.appendLittleEndian(UInt16(0))
        return output
    }

    // MARK: Records

    /// Unix, version 4.5 (ZIP64).
    private static let madeBy: UInt16 = 0x032d
    private static let versionNeeded: UInt16 = 45

    /// Both sizes always stand in the ZIP64 field, so that there is one form only.
    private static func localHeader(_ member: Member) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendLittleEndian(markers.local)
        appendCommon(member, to: &bytes)
        bytes.appendLittleEndian(member.isStreamed ? 0 : member.checksum)
        bytes.appendLittleEndian(UInt32.max)
        bytes.appendLittleEndian(UInt32.max)
        bytes.appendLittleEndian(UInt16(member.name.count))
        bytes.appendLittleEndian(UInt16(20))
        bytes += member.name
        bytes.appendLittleEndian(UInt16(1))
        bytes.appendLittleEndian(UInt16(16))
        bytes.appendLittleEndian(member.isStreamed ? 0 : member.size)
        bytes.appendLittleEndian(member.isStreamed ? 0 : member.stored)
        return bytes
    }

    private mutating func list(_ member: Member) throws {
        guard directory.count < Self.directoryLimit else {
            throw BackupFailure(
                .invalidInput, "The folder has too many entries for a ZIP archive",
                hints: ["Ask for a tar archive with tar=1."])
        }
        var bytes: [UInt8] = []
        bytes.appendLittleEndian(Self.markers.central)
        bytes.appendLittleEndian(Self.madeBy)
        Self.appendCommon(member, to: &bytes)
        bytes.appendLittleEndian(member.checksum)
        bytes.appendLittleEndian(UInt32.max)
        bytes.appendLittleEndian(UInt32.max)
        bytes.appendLittleEndian(UInt16(member.name.count))
        bytes.appendLittleEndian(UInt16(28))
        // No comment, disk 0, no internal attributes.
        bytes += [UInt8](repeating: 0, count: 6)
        bytes.appendLittleEndian(UInt32(truncatingIfNeeded: member.mode & 0xffff) << 16)
        bytes.appendLittleEndian(UInt32.max)
        bytes += member.name
        bytes.appendLittleEndian(UInt16(1))
        bytes.appendLittleEndian(UInt16(24))
        for value in [member.size, member.stored, member.offset] { bytes.appendLittleEndian(value) }
        directory += bytes
        count += 1
    }

    /// Version, flags, method and time, which stand in both headers.
    private static func appendCommon(_ member: Member, to bytes: inout [UInt8]) {
        bytes.appendLittleEndian(versionNeeded)
        let isUTF8 = String(validating: member.name, as: UTF8.self) != nil
        bytes.appendLittleEndian(UInt16(isUTF8 ? 0x0800 : 0) | (member.isStreamed ? 0x0008 : 0))
        bytes.appendLittleEndian(UInt16(member.isDeflated ? 8 : 0))
        let (time, date) = DOSTime.fields(member.modified)
        bytes.appendLittleEndian(time)
        bytes.appendLittleEndian(date)
    }
}

/// Times as ZIP has them: in UTC here, every second one only, 1980 to 2107.
enum DOSTime {
    static func fields(_ seconds: Int64) -> (time: UInt16, date: UInt16) {
        let days = seconds.floored(by: 86_400)
        let rest = seconds - days * 86_400
        // Days to a date of the proleptic Gregorian calendar, in eras of 400 years that begin in March.
        let shifted = days + 719_468
        let era = shifted.floored(by: 146_097)
        let day = shifted - era * 146_097
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365
        let dayOfYear = day - (365 * year + year / 4 - year / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let fullYear = year + era * 400 + (month <= 2 ? 1 : 0)
        guard fullYear >= 1980 else { return (0, 0x0021) }
        guard fullYear <= 2107 else { return (0xbf7d, 0xff9f) }
        return (
            UInt16(rest / 3600) << 11 | UInt16(rest / 60 % 60) << 5 | UInt16(rest % 60 / 2),
            UInt16(fullYear - 1980) << 9 | UInt16(month) << 5 | UInt16(dayOfMonth)
        )
    }
}

extension Int64 {
    /// The quotient, rounded down.
    fileprivate func floored(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

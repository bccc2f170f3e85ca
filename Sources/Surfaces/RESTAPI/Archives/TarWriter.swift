import BackupFormats
import BlobCoding
import Pxar

/// Writes a tar archive (ustar, with the GNU forms for long names and large numbers), compressed with zstd piece by
/// piece.
struct TarWriter: FolderWriter {
    static let contentType = "application/zstd"
    static let keepsHardLinks = true
    private static let blockBytes = 512
    /// Plain bytes that are compressed at once.
    private static let pieceBytes = 1 << 20

    private let coders = BlobCoders()
    private var plain: [UInt8] = []
    /// Zeros that follow the current content.
    private var padding = 0

    mutating func entry(_ entry: FolderEntry) throws -> [UInt8] {
        let type: UInt8
        var name = entry.path
        var link: [UInt8] = []
        var size: UInt64 = 0
        var device: (major: UInt32, minor: UInt32) = (0, 0)
        switch entry.kind {
        case .directory:
            type = UInt8(ascii: "5")
            name.append(UInt8(ascii: "/"))
        case .file:
            type = UInt8(ascii: "0")
            size = entry.size
        case .hardLink(let target?):
            type = UInt8(ascii: "1")
            link = target
        case .hardLink(nil):
            type = UInt8(ascii: "0")
            size = entry.size
        case .symlink(let target):
            type = UInt8(ascii: "2")
            link = target
        case .device(let major, let minor):
            type = entry.metadata.stat.kind == .blockDevice ? UInt8(ascii: "4") : UInt8(ascii: "3")
            device = (major, minor)
        case .fifo: type = UInt8(ascii: "6")
        // tar knows no sockets.
        case .socket: return []
        }
        if name.count > Self.nameBytes { append(longText: name, type: UInt8(ascii: "L")) }
        if link.count > Self.nameBytes { append(longText: link, type: UInt8(ascii: "K")) }
        plain += Self.header(name, link, type, size, entry.metadata.stat, device)
        padding = Self.padding(size)
        return try compressed()
    }

    mutating func content(_ bytes: [UInt8]) throws -> [UInt8] {
        plain += bytes
        return try compressed()
    }

    mutating func contentEnd() throws -> [UInt8] {
        plain += [UInt8](repeating: 0, count: padding)
        padding = 0
        return []
    }

    mutating func end() throws -> [UInt8] {
        plain += [UInt8](repeating: 0, count: 2 * Self.blockBytes)
        return try compressed(isLast: true)
    }

    /// What is ready to be sent.
    private mutating func compressed(isLast: Bool = false) throws -> [UInt8] {
        guard plain.count >= Self.pieceBytes || isLast else { return [] }
        defer { plain.removeAll(keepingCapacity: true) }
        return try coders.withEncoder { try $0.frame(plain) }
    }

    private static let nameBytes = 100

    private static func padding(_ size: UInt64) -> Int { (blockBytes - Int(size % UInt64(blockBytes))) % blockBytes }

    /// A pseudo entry with a name that is too long for a header.
    private mutating func append(longText text: [UInt8], type: UInt8) {
        let size = UInt64(text.count + 1)
        plain += Self.header(
            Array("././@LongLink".utf8), [], type, size, PxarStat(mode: 0o100644), (0, 0))
        plain += text + [UInt8](repeating: 0, count: 1 + Self.padding(size))
    }

    private static func header(
        _ name: [UInt8], _ link: [UInt8], _ type: UInt8, _ size: UInt64, _ stat: PxarStat,
        _ device: (major: UInt32, minor: UInt32)
    ) -> [UInt8] {
        var block: [UInt8] = []
        block.reserveCapacity(blockBytes)
        func field(_ bytes: [UInt8], _ width: Int) -> [UInt8] {
            Array(bytes.prefix(width)) + [UInt8](repeating: 0, count: max(0, width - bytes.count))
        }
        block += field(name, nameBytes)
        block += number(UInt64(stat.permissions), 8)
        block += number(UInt64(stat.uid), 8)
        block += number(UInt64(stat.gid), 8)
        block += number(size, 12)
        block += number(UInt64(clamping: stat.mtime.seconds), 12)
        block += [UInt8](repeating: UInt8(ascii: " "), count: 8)
        block.append(type)
        block += field(link, nameBytes)
        // The magic of GNU tar, whose long names and large numbers these are; no owner's names.
        block += Array("ustar  \0".utf8) + [UInt8](repeating: 0, count: 64)
        block += number(UInt64(device.major), 8) + number(UInt64(device.minor), 8)
        block += [UInt8](repeating: 0, count: blockBytes - block.count)
        let sum = block.reduce(0) { $0 + UInt64($1) }
        block.replaceSubrange(148..<156, with: number(sum, 7) + [UInt8(ascii: " ")])
        return block
    }

    /// Octal digits with a NUL behind them, or where they do not fit the value itself with bit 7 of the first byte set.
    private static func number(_ value: UInt64, _ width: Int) -> [UInt8] {
        let digits = String(value, radix: 8)
        guard digits.count < width else {
            var bytes = [UInt8](repeating: 0, count: width)
            var rest = value
            for place in stride(from: width - 1, to: 0, by: -1) {
                bytes[place] = UInt8(truncatingIfNeeded: rest)
                rest >>= 8
            }
            bytes[0] = 0x80
            return bytes
        }
        return [UInt8](repeating: UInt8(ascii: "0"), count: width - 1 - digits.count) + Array(digits.utf8) + [0]
    }
}

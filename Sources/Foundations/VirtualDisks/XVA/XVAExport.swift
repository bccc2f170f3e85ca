import BackupFormats

/// A machine as the stream of an XVA, for import on a host. (Spec: xo-proxy §7.7.)
///
/// `ova.xml`, then of each disk the pieces of its present blocks, and in any case the first and the last, each followed
/// by its XXH64. The length is known before the first byte. Blocks are read a few ahead; memory is that and the list of
/// blocks.
package actor XVAExport: ByteSource {
    /// A disk of the machine.
    package struct Disk: Sendable {
        /// Its id in `ova.xml`: `Ref:4`.
        package let id: String
        package let content: any DiskView

        package init(id: String, content: any DiskView) {
            self.id = id
            self.content = content
        }
    }

    /// Which pieces of a disk are written.
    private struct Plan {
        let disk: Disk
        /// Blocks to read, ascending.
        let blocks: [Int]
        /// Those that are absent: of these only the first or last piece of the disk.
        let absent: Set<Int>

        init(_ disk: Disk) async throws {
            self.disk = disk
            let count = DiskGeometry.blockCount(disk.content.size)
            var present = try await disk.content.presentBlocks().filter { $0 >= 0 && $0 < count }
            var absent: Set<Int> = []
            if count > 0, present.first != 0 {
                present.insert(0, at: 0)
                absent.insert(0)
            }
            if count > 0, present.last != count - 1 {
                present.append(count - 1)
                absent.insert(count - 1)
            }
            blocks = present
            self.absent = absent
        }

        /// Numbers of the pieces of a block that are written, and their sizes.
        func pieces(of block: Int) -> [(index: Int, byteCount: Int)] {
            let size = disk.content.size
            let last = Int((size - 1) / UInt64(XVALimits.pieceBytes))
            return (block * piecesPerBlock..<(block + 1) * piecesPerBlock).compactMap { index in
                guard index <= last, !absent.contains(block) || index == 0 || index == last else { return nil }
                let start = UInt64(index) * UInt64(XVALimits.pieceBytes)
                return (index, Int(min(size - start, UInt64(XVALimits.pieceBytes))))
            }
        }

        /// Bytes that all of it takes in the archive.
        var byteCount: UInt64 {
            var sum: UInt64 = 0
            for block in blocks {
                for piece in pieces(of: block) {
                    sum += entryBytes(UInt64(piece.byteCount)) + entryBytes(checksumBytes)
                }
            }
            return sum
        }
    }

    private static let piecesPerBlock = DiskGeometry.blockBytes / XVALimits.pieceBytes
    private static let checksumBytes: UInt64 = 16
    private static let endBytes = 2 * TarHeader.byteCount

    /// Length of the stream.
    package nonisolated let byteCount: UInt64
    private var plans: ArraySlice<Plan>
    private var blocks: BlocksAhead?
    private var isEnded = false
    private var piece: [UInt8]
    private var given = 0

    /// - Parameters:
    ///   - description: The bytes of `ova.xml`.
    ///   - disks: In the order in which they are written.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for a description that is empty or above
    ///   ``XVALimits/descriptionBytes`` or an id that is none, and what the disks throw.
    package static func open(description: [UInt8], disks: [Disk]) async throws -> XVAExport {
        guard (1...XVALimits.descriptionBytes).contains(description.count) else {
            throw BackupFailure(.invalidInput, "The description of a machine has \(description.count) bytes")
        }
        var plans: [Plan] = []
        for disk in disks {
            guard disk.id.hasPrefix("Ref:"), disk.id.utf8.count <= 32, !disk.id.contains("/") else {
                throw BackupFailure(.invalidInput, "\(disk.id) is not the id of a disk in an XVA")
            }
            plans.append(try await Plan(disk))
        }
        return XVAExport(description, plans)
    }

    private init(_ description: [UInt8], _ plans: [Plan]) {
        self.plans = plans[...]
        piece = Self.entry("ova.xml", description)
        byteCount = plans.reduce(UInt64(piece.count + Self.endBytes)) { $0 + $1.byteCount }
    }

    package func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if given == piece.count {
            piece = []
            given = 0
            guard let next = try await nextPiece() else { return nil }
            piece = next
        }
        let end = min(piece.count, given + maxBytes)
        defer { given = end }
        return given == 0 && end == piece.count ? piece : Array(piece[given..<end])
    }

    /// The entries of the next block.
    private func nextPiece() async throws -> [UInt8]? {
        while let plan = plans.first {
            let blocks = self.blocks ?? BlocksAhead(plan.disk.content, plan.blocks)
            self.blocks = blocks
            guard let block = try await blocks.next() else {
                plans.removeFirst()
                self.blocks = nil
                continue
            }
            var bytes: [UInt8] = []
            let pieces = plan.pieces(of: block.index)
            bytes.reserveCapacity(pieces.count * (XVALimits.pieceBytes + 3 * TarHeader.byteCount))
            for piece in pieces {
                let start = piece.index % Self.piecesPerBlock * XVALimits.pieceBytes
                let content = Array(block.bytes[start..<start + piece.byteCount])
                let digits = String(piece.index)
                let name = plan.disk.id + "/" + String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
                bytes += Self.entry(name, content)
                bytes += Self.entry(name + ".xxhash", Array(XXHash64.text(content).utf8))
            }
            return bytes
        }
        guard !isEnded else { return nil }
        isEnded = true
        return [UInt8](repeating: 0, count: Self.endBytes)
    }

    private static func entry(_ name: String, _ content: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(entryBytes(UInt64(content.count))))
        bytes += TarHeader(name: name, size: UInt64(content.count)).encode()
        bytes += content
        bytes.appendZeros(Int(TarHeader.paddedCount(UInt64(content.count))) - content.count)
        return bytes
    }

    private static func entryBytes(_ size: UInt64) -> UInt64 {
        UInt64(TarHeader.byteCount) + TarHeader.paddedCount(size)
    }
}

package import BackupFormats
import Crypto

/// What a decoder finds in an XVA, in the order of the archive.
package enum XVAEvent: Sendable, Equatable {
    /// `ova.xml`: always first.
    case description([UInt8])
    /// A piece of a disk, after its checksum. What does not come is zeros.
    case piece(XVAPiece)
    /// The archive is complete. Zeros may follow, nothing else.
    case end
}

/// Takes the bytes of an XVA as they arrive and says what is in them. (Spec: xo-proxy §7.7.)
///
/// A tar archive: `ova.xml`, then folders `Ref:<n>/` with the pieces `00000000`, `00000001`, … of each disk, directly
/// after each piece its checksum `<piece>.xxhash` (XXH64) or `<piece>.checksum` (SHA-1). Pieces ascend, disks come one
/// after the other; a piece without checksum, or with a wrong one, is refused. Entries of other names are passed over.
///
/// Memory: one piece, or `ova.xml`. Offsets in errors are positions in the archive.
package struct XVADecoder: Sendable {
    private enum State {
        case header
        /// Gathers the content of an entry.
        case content(Kind, size: Int)
        /// Passes over content and padding.
        case skipping(UInt64)
        /// One block of zeros was seen.
        case ending
        case over
    }

    private enum Kind: Equatable {
        case description
        case piece(disk: String, index: Int)
        case checksum(Checksum)
        case other
    }

    private enum Checksum: Equatable { case sha1, xxhash64 }

    /// Bytes of the archive taken so far.
    package private(set) var position: UInt64 = 0
    private var state = State.header
    private var gathered: [UInt8] = []
    private var hasDescription = false
    /// Waits for its checksum.
    private var pending: XVAPiece?
    private var finishedDisks: Set<String> = []
    /// Folder and number of the last piece.
    private var last: (disk: String, index: Int)?

    package init() {}

    /// Whether the end of the archive was seen.
    package var isComplete: Bool { if case .over = state { true } else { false } }

    /// Takes bytes from `input`, starting at `offset`, until something is found.
    ///
    /// - Parameter offset: Moved past what was taken; hand in the rest with the next call.
    /// - Returns: nil when all of `input` was taken and more is needed.
    /// - Throws: ``FormatError`` for bytes that break the format; the decoder is of no use afterwards.
    package mutating func next(in input: [UInt8], at offset: inout Int) throws(FormatError) -> XVAEvent? {
        while offset < input.count {
            switch state {
            case .header:
                guard gather(TarHeader.byteCount, from: input, at: &offset) else { return nil }
                try readHeader()
            case .content(let kind, let size):
                guard gather(size, from: input, at: &offset) else { return nil }
                let content = gathered
                gathered = []
                let padding = TarHeader.paddedCount(UInt64(size)) - UInt64(size)
                state = padding > 0 ? .skipping(padding) : .header
                if let event = try read(kind, content) { return event }
            case .skipping(let remaining):
                let some = min(remaining, UInt64(input.count - offset))
                offset += Int(some)
                position += some
                state = remaining > some ? .skipping(remaining - some) : .header
            case .ending:
                guard gather(TarHeader.byteCount, from: input, at: &offset) else { return nil }
                guard ZeroBytes.isZero(gathered) else {
                    throw .invalid("one block of zeros in the middle of the archive", offset: Int(position))
                }
                gathered = []
                state = .over
                return .end
            case .over:
                guard ZeroBytes.isZero(input, offset..<input.count) else {
                    throw .invalid("bytes follow the end of the archive", offset: Int(position))
                }
                position += UInt64(input.count - offset)
                offset = input.count
            }
        }
        return nil
    }

    /// Says whether what was taken is a whole archive.
    ///
    /// - Throws: ``FormatError`` where it is not.
    package func finish() throws(FormatError) {
        guard isComplete else {
            throw .truncated(offset: Int(position), needed: TarHeader.byteCount, available: gathered.count)
        }
        guard position % UInt64(TarHeader.byteCount) == 0 else {
            throw .invalid("the length of the archive is no multiple of 512", offset: Int(position))
        }
    }

    /// Whether `gathered` has `count` bytes now.
    private mutating func gather(_ count: Int, from input: [UInt8], at offset: inout Int) -> Bool {
        let some = min(count - gathered.count, input.count - offset)
        if gathered.isEmpty { gathered.reserveCapacity(count) }
        gathered.append(contentsOf: input[offset..<offset + some])
        offset += some
        position += UInt64(some)
        return gathered.count == count
    }

    private mutating func readHeader() throws(FormatError) {
        let bytes = gathered
        gathered = []
        let start = Int(position) - TarHeader.byteCount
        if ZeroBytes.isZero(bytes) {
            try expectNoPending(start)
            guard hasDescription else { throw .invalid("an archive without ova.xml", offset: start) }
            state = .ending
            return
        }
        let header = try TarHeader(parsing: bytes, offset: start)
        let kind = try kind(of: header, at: start)
        let limit =
            switch kind {
            case .description: XVALimits.descriptionBytes
            case .piece: XVALimits.pieceBytes
            case .checksum: 64
            case .other: Int(XVALimits.entryBytes)
            }
        guard header.size <= limit else { throw .tooLong(header.size, limit: limit, offset: start + 124) }
        if kind == .other {
            state = header.size > 0 ? .skipping(TarHeader.paddedCount(header.size)) : .header
        } else if header.size == 0 {
            // Nothing to gather: an empty piece stands for zeros.
            state = .header
            _ = try read(kind, [])
        } else {
            state = .content(kind, size: Int(header.size))
        }
    }

    private mutating func kind(of header: TarHeader, at offset: Int) throws(FormatError) -> Kind {
        if !hasDescription {
            guard header.isFile, header.name == "ova.xml", header.size > 0 else {
                throw .invalid("the first entry is \(header.name), not ova.xml", offset: offset)
            }
            return .description
        }
        guard header.isFile, let (disk, file) = Self.split(header.name) else {
            try expectNoPending(offset)
            return .other
        }
        if let pending {
            let expected = Self.pieceNumber(file.prefix { $0 != "." })
            guard disk == pending.disk, expected == pending.index else {
                throw missingChecksum(pending, offset)
            }
            if file.hasSuffix(".xxhash") { return .checksum(.xxhash64) }
            if file.hasSuffix(".checksum") { return .checksum(.sha1) }
            throw missingChecksum(pending, offset)
        }
        guard let index = Self.pieceNumber(file) else {
            if file.hasSuffix(".xxhash") || file.hasSuffix(".checksum") {
                throw .invalid("the checksum \(header.name) follows no piece", offset: offset)
            }
            return .other
        }
        try follow(disk, index, offset)
        return .piece(disk: disk, index: index)
    }

    /// Pieces of a disk ascend, and a disk that has ended does not come again.
    private mutating func follow(_ disk: String, _ index: Int, _ offset: Int) throws(FormatError) {
        if let last, last.disk == disk {
            guard index > last.index else {
                throw .invalid("piece \(index) of \(disk) follows piece \(last.index)", offset: offset)
            }
        } else {
            if let last { finishedDisks.insert(last.disk) }
            guard !finishedDisks.contains(disk) else {
                throw .invalid("\(disk) comes a second time", offset: offset)
            }
            guard finishedDisks.count < XVALimits.disks else {
                throw .tooLong(UInt64(finishedDisks.count) + 1, limit: XVALimits.disks, offset: offset)
            }
        }
        last = (disk, index)
    }

    private mutating func read(_ kind: Kind, _ content: [UInt8]) throws(FormatError) -> XVAEvent? {
        switch kind {
        case .description:
            hasDescription = true
            return .description(content)
        case .piece(let disk, let index):
            pending = XVAPiece(disk: disk, index: index, bytes: content)
            return nil
        case .checksum(let checksum):
            guard let piece = pending else { return nil }
            pending = nil
            let stored = String(decoding: content, as: UTF8.self).uppercased()
            let computed =
                switch checksum {
                case .xxhash64: XXHash64.text(piece.bytes)
                case .sha1: Hex.encode(Insecure.SHA1.hash(data: piece.bytes)).uppercased()
                }
            guard stored == computed else {
                throw .invalid(
                    "piece \(piece.index) of \(piece.disk) is not what its checksum says", offset: Int(position))
            }
            return piece.bytes.isEmpty ? nil : .piece(piece)
        case .other: return nil
        }
    }

    private func expectNoPending(_ offset: Int) throws(FormatError) {
        if let pending { throw missingChecksum(pending, offset) }
    }

    private func missingChecksum(_ piece: XVAPiece, _ offset: Int) -> FormatError {
        .invalid("piece \(piece.index) of \(piece.disk) has no checksum", offset: offset)
    }

    /// Folder and file of `Ref:<n>/<file>`.
    private static func split(_ name: String) -> (disk: String, file: String)? {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].hasPrefix("Ref:"), !parts[1].isEmpty else { return nil }
        return (String(parts[0]), String(parts[1]))
    }

    private static func pieceNumber(_ text: some StringProtocol) -> Int? {
        guard (8...XVALimits.pieceDigits).contains(text.utf8.count),
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int(text)
    }
}

package import BackupFormats

/// What a decoder finds, in the order of the archive.
package enum PxarEvent: Equatable, Sendable {
    /// An entry with all its metadata. The children of a folder follow, then
    /// its ``directoryEnd``; the content of a ``PxarContent/file(size:)`` follows as ``payload(_:)``.
    case entry(PxarEntry)
    /// The part of the input that continues the content of the last file.
    case payload(Range<Int>)
    /// The content of the last file is complete. Empty files have this event, too.
    case payloadEnd
    case directoryEnd
    /// The opaque bytes in front of a split archive.
    case prelude([UInt8])
    /// The root is complete. Bytes that follow are an error.
    case archiveEnd
}

/// Takes the bytes of an archive as they arrive and says what is in them.
///
/// Reads version 1, and the metadata stream of version 2. Attributes may stand
/// in any order; an item that does not belong where it stands, a second one of
/// a kind of which there is one, sizes above ``PxarLimits``, names that are
/// not allowed and names that occur twice in a folder are refused. No more is
/// kept than one item, the attributes of one entry and 16 bytes for each name in
/// the folders that are open.
///
/// Offsets in errors are positions in the archive.
package struct PxarDecoder: Sendable {
    enum State {
        case header
        /// Gathers the content of an item.
        case content(PxarItemType, size: Int)
        case payload(remaining: UInt64)
        case goodbye(remaining: UInt64, size: UInt64)
        case over
    }

    struct Directory {
        var names: Set<UInt64> = []
    }

    /// Bytes of the archive taken so far.
    package private(set) var position: UInt64
    var state = State.header
    /// Bytes of the header or item being gathered.
    private var gathered: [UInt8] = []
    /// An item whose header has been read and that waits until the entry before it has been given.
    private var held: (type: PxarItemType, size: UInt64)?
    /// The format version that the archive names; 1 where it names none.
    package internal(set) var version = 1
    var itemStart: UInt64
    var node: PxarNodeBuilder?
    var directories: [Directory] = []
    /// The root has begun. (`directories` is empty before and after it.)
    var rootSeen = false
    var versionSeen = false
    var preludeSeen = false

    package init() {
        position = 0
        itemStart = 0
    }

    /// For one node inside an archive: reads from the file name at `position`.
    init(nodeAt position: UInt64, version: Int) {
        self.position = position
        self.version = version
        itemStart = position
        rootSeen = true
        directories = [Directory()]
    }

    /// Takes bytes from `input`, starting at `offset`, until something is found.
    ///
    /// - Parameters:
    ///   - input: Bytes that continue the archive.
    ///   - offset: Moved past what was taken; hand in the rest with the next call.
    /// - Returns: nil when all of `input` was taken and more is needed.
    /// - Throws: ``FormatError`` for bytes that break the format; the decoder is of no use afterwards.
    package mutating func next(
        in input: UnsafeRawBufferPointer, at offset: inout Int
    ) throws(FormatError) -> PxarEvent? {
        while true {
            if rootSeen, directories.isEmpty, node == nil, case .header = state {
                state = .over
                return .archiveEnd
            }
            switch state {
            case .header:
                if let (type, size) = held {
                    held = nil
                    if let event = try begin(type, size: size) { return event }
                    continue
                }
                if gathered.isEmpty { itemStart = position }
                guard gather(PxarLimits.headerSize, from: input, at: &offset) else { return nil }
                let (type, size) = try parseHeader()
                if let event = try begin(type, size: size) { return event }
            case .content(let type, let size):
                guard gather(size, from: input, at: &offset) else { return nil }
                state = .header
                let content = gathered
                gathered.removeAll(keepingCapacity: true)
                if let event = try end(type, content: content) { return event }
            case .payload(let remaining):
                if remaining == 0 {
                    state = .header
                    return .payloadEnd
                }
                let count = Int(min(remaining, UInt64(input.count - offset)))
                guard count > 0 else { return nil }
                state = .payload(remaining: remaining - UInt64(count))
                defer { advance(count, &offset) }
                return .payload(offset..<offset + count)
            case .goodbye(let remaining, let size):
                // Of the table only the tail is looked at: who reads in order needs no index.
                let tail = UInt64(GoodbyeItem.byteCount)
                if remaining > tail {
                    let count = Int(min(remaining - tail, UInt64(input.count - offset)))
                    guard count > 0 else { return nil }
                    state = .goodbye(remaining: remaining - UInt64(count), size: size)
                    advance(count, &offset)
                    continue
                }
                guard gather(GoodbyeItem.byteCount, from: input, at: &offset) else { return nil }
                try checkTail(size: size)
                directories.removeLast()
                state = .header
                return .directoryEnd
            case .over:
                guard offset == input.count else {
                    throw .invalid("bytes follow the end of the archive", offset: at)
                }
                return nil
            }
        }
    }

    /// Says that no more bytes come.
    ///
    /// - Throws: ``FormatError/truncated(offset:needed:available:)`` where the archive is not complete.
    package func finish() throws(FormatError) {
        if case .over = state { return }
        throw .truncated(offset: at, needed: PxarLimits.headerSize, available: 0)
    }

    /// The position as an offset for errors.
    private var at: Int { Int(clamping: position) }
    var itemOffset: Int { Int(clamping: itemStart) }

    private mutating func advance(_ count: Int, _ offset: inout Int) {
        offset += count
        position += UInt64(count)
    }

    /// Adds to what is gathered until there are `count` bytes.
    private mutating func gather(_ count: Int, from input: UnsafeRawBufferPointer, at offset: inout Int) -> Bool {
        let taken = min(count - gathered.count, input.count - offset)
        if taken > 0 {
            gathered.append(contentsOf: input[offset..<offset + taken])
            advance(taken, &offset)
        }
        return gathered.count == count
    }

    private mutating func parseHeader() throws(FormatError) -> (PxarItemType, UInt64) {
        let number = gathered.word(0)
        let total = gathered.word(8)
        gathered.removeAll(keepingCapacity: true)
        guard let type = PxarItemType(rawValue: number) else { throw .unknownMagic(number, offset: itemOffset) }
        guard total >= UInt64(PxarLimits.headerSize) else {
            throw .invalid("an item is smaller than its header", offset: itemOffset)
        }
        let size = total - UInt64(PxarLimits.headerSize)
        guard size <= UInt64(Int64.max) - position else {
            throw .tooLong(size, limit: Int.max - at, offset: itemOffset)
        }
        if let sizes = type.contentSizes, !sizes.contains(size) {
            guard size <= sizes.upperBound else {
                throw .tooLong(size, limit: Int(sizes.upperBound), offset: itemOffset)
            }
            throw .invalid("an item of \(size) bytes is too short for its kind", offset: itemOffset)
        }
        return (type, size)
    }

    /// Gives the pending entry first, then the item whose header has been read.
    mutating func holdForPending(_ type: PxarItemType, size: UInt64) {
        held = (type, size)
    }

    private mutating func checkTail(size: UInt64) throws(FormatError) {
        let hash = gathered.word(0)
        let tailSize = gathered.word(16)
        gathered.removeAll(keepingCapacity: true)
        guard hash == goodbyeTailMarker else {
            throw .invalid("a folder's table does not end with its marker", offset: itemOffset)
        }
        guard tailSize == size + UInt64(PxarLimits.headerSize) else {
            throw .invalid("a folder's table has another size than it says", offset: itemOffset)
        }
    }
}

extension [UInt8] {
    /// The little-endian integer at `offset`; the caller knows that it is there.
    func word<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as _: Value.Type = Value.self) -> Value {
        precondition(offset >= 0 && offset + MemoryLayout<Value>.size <= count, "a field ends with its item")
        return withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self)) }
    }

    func word(_ offset: Int) -> UInt64 { word(offset, as: UInt64.self) }
}

import BackupFormats

/// Where a reader with random access finds the bytes of an archive.
package protocol PxarSource: Sendable {
    /// Bytes of the archive.
    var size: UInt64 { get }

    /// Exactly `count` bytes from `offset`, which lie inside ``size``.
    func read(at offset: UInt64, count: Int) async throws -> [UInt8]
}

/// Finds entries of an archive without reading what is before them.
///
/// Reads archives of version 1 and the metadata stream of version 2. Starts at
/// the end: the last item of each folder's table says where the folder is.
/// Tables and positions are checked before they are followed; a wrong one is a
/// ``FormatError``, never a read outside of the archive.
package struct PxarReader<Source: PxarSource>: Sendable {
    /// An entry and where its parts are.
    package struct Node: Sendable {
        package var entry: PxarEntry
        /// The bytes of a file's content; nil for all else.
        package var content: Range<UInt64>?
        /// Behind the last byte of a folder.
        fileprivate var end: UInt64
    }

    /// Bytes of one folder's table at most.
    private static var tableLimit: UInt64 { 256 << 20 }
    /// Bytes asked for at once while an entry is read.
    private static var pieceSize: UInt64 { 4096 }

    package let source: Source
    package let root: Node
    private let version: Int

    /// - Throws: ``FormatError`` where the end or the root is not what it should be; whatever `source` throws.
    package init(_ source: Source) async throws {
        self.source = source
        var decoder = PxarDecoder()
        let (entry, _) = try await Self.firstEntry(of: &decoder, in: source, from: 0)
        version = decoder.version
        root = Node(entry: entry, content: nil, end: source.size)
    }

    /// The children of a folder, in the order of the archive.
    ///
    /// - Throws: As the initializer.
    package func children(of folder: Node) async throws -> [Node] {
        let table = try await table(of: folder)
        var nodes: [Node] = []
        for item in table.sorted(by: { $0.position < $1.position }) { nodes.append(try await node(item)) }
        return nodes
    }

    /// The child of `folder` named `name`, or nil.
    ///
    /// - Throws: As the initializer.
    package func child(_ name: [UInt8], of folder: Node) async throws -> Node? {
        let hash = PxarNameHash.hash(name)
        for item in try await table(of: folder) where item.hash == hash {
            let node = try await node(item)
            if node.entry.name == name { return node }
        }
        return nil
    }

    /// The entry at `path`, given as names from the root; nil where there is none.
    ///
    /// - Throws: As the initializer.
    package func node(at path: [[UInt8]]) async throws -> Node? {
        var current = root
        for name in path {
            guard case .directory = current.entry.content else { return nil }
            guard let next = try await child(name, of: current) else { return nil }
            current = next
        }
        return current
    }

    /// A decoder that reads a folder and all below it in the order of the archive, and the position of the first byte
    /// that it wants. It has come to the end with as many ends of folders as it gave folders.
    package func decoder(from folder: Node) -> (decoder: PxarDecoder, position: UInt64) {
        guard !folder.entry.name.isEmpty else { return (PxarDecoder(), 0) }
        return (PxarDecoder(nodeAt: folder.entry.position, version: version), folder.entry.position)
    }

    /// The file that a hard link names.
    ///
    /// - Throws: As the initializer; ``FormatError`` where the link does not lead to a file.
    package func target(of link: Node) async throws -> Node {
        guard case .hardLink(let distance, _) = link.entry.content else { return link }
        // The decoder has checked that the distance does not lead out of the archive.
        let position = link.entry.position - distance
        let target = try await node(TableItem(hash: 0, position: position, end: source.size))
        switch target.entry.content {
        case .file, .fileReference: return target
        default: throw FormatError.invalid("a hard link does not lead to a file", offset: Int(clamping: position))
        }
    }
}

extension PxarReader {
    private struct TableItem {
        var hash: UInt64
        var position: UInt64
        var end: UInt64
    }

    private func table(of folder: Node) async throws -> [TableItem] {
        guard case .directory = folder.entry.content else {
            throw FormatError.invalid("an entry is not a folder", offset: Int(clamping: folder.entry.position))
        }
        let item = UInt64(GoodbyeItem.byteCount)
        let header = UInt64(PxarLimits.headerSize)
        let place = Int(clamping: folder.end)
        let start = folder.entry.position
        guard folder.end <= source.size, folder.end - start >= item + header else {
            throw FormatError.truncated(offset: place, needed: GoodbyeItem.byteCount, available: 0)
        }
        let tail = try await source.read(at: folder.end - item, count: GoodbyeItem.byteCount)
        let size = tail.word(16)
        guard tail.word(0) == goodbyeTailMarker, size >= item + header, size <= folder.end - start,
            (size - header).isMultiple(of: item)
        else { throw FormatError.invalid("a folder does not end with a table", offset: place) }
        guard size <= Self.tableLimit else {
            throw FormatError.tooLong(size, limit: Int(Self.tableLimit), offset: place)
        }
        let tableStart = folder.end - size
        let bytes = try await source.read(at: tableStart, count: Int(size))
        guard bytes.word(0) == PxarItemType.goodbye.rawValue, bytes.word(8) == size else {
            throw FormatError.invalid("a folder's table has another header", offset: Int(clamping: tableStart))
        }
        return try stride(
            from: PxarLimits.headerSize, to: bytes.count - GoodbyeItem.byteCount, by: GoodbyeItem.byteCount
        )
        .map { offset in
            let (distance, length) = (bytes.word(offset + 8), bytes.word(offset + 16))
            guard distance <= tableStart - start, distance > 0 else {
                throw FormatError.invalid("a table leads out of its folder", offset: Int(clamping: tableStart))
            }
            let position = tableStart - distance
            // In a split archive the size of a file may count bytes that are elsewhere.
            let end = length > tableStart - position ? tableStart : position + length
            return TableItem(hash: bytes.word(offset), position: position, end: end)
        }
    }

    private func node(_ item: TableItem) async throws -> Node {
        var decoder = PxarDecoder(nodeAt: item.position, version: version)
        let (entry, position) = try await Self.firstEntry(of: &decoder, in: source, from: item.position)
        guard case .file(let size) = entry.content else { return Node(entry: entry, content: nil, end: item.end) }
        guard size <= source.size - position else {
            throw FormatError.truncated(
                offset: Int(clamping: position), needed: Int(clamping: size),
                available: Int(clamping: source.size - position))
        }
        return Node(entry: entry, content: position..<position + size, end: item.end)
    }

    /// The first entry that `decoder` finds, and the position behind what it took.
    private static func firstEntry(
        of decoder: inout PxarDecoder, in source: Source, from start: UInt64
    ) async throws -> (PxarEntry, UInt64) {
        var position = start
        while position < source.size {
            let piece = try await source.read(at: position, count: Int(min(pieceSize, source.size - position)))
            position += UInt64(piece.count)
            var offset = 0
            while let event = try piece.withUnsafeBytes({ try decoder.next(in: $0, at: &offset) }) {
                if case .entry(let entry) = event { return (entry, decoder.position) }
            }
        }
        try decoder.finish()
        throw FormatError.truncated(offset: Int(clamping: position), needed: PxarLimits.headerSize, available: 0)
    }
}

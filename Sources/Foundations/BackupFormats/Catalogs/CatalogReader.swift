/// Reads a catalog that is in memory as a whole. Folders are read one at a time and never recursively.
package struct CatalogReader: Sendable {
    private let bytes: [UInt8]
    /// Where the block of the root folder starts.
    package let rootPosition: Int

    /// Checks the magic and the position of the root.
    ///
    /// - Throws: ``FormatError``: too short, another magic, a root outside of the catalog.
    package init(_ bytes: [UInt8]) throws(FormatError) {
        guard bytes.count >= CatalogLayout.minByteCount else {
            throw .truncated(offset: 0, needed: CatalogLayout.minByteCount, available: bytes.count)
        }
        var reader = ByteReader(bytes.span)
        let magic: UInt64 = try reader.read()
        guard magic == CatalogLayout.magic else { throw .unknownMagic(magic, offset: 0) }
        try reader.skip(bytes.count - 16)
        let root: UInt64 = try reader.read()
        guard root >= 8, root < UInt64(bytes.count - 8) else {
            throw .invalid("the root folder lies outside of the catalog", offset: bytes.count - 8)
        }
        self.bytes = bytes
        rootPosition = Int(root)
    }

    /// The entries of the folder whose block starts at `position`, in archive order.
    ///
    /// - Parameter position: ``rootPosition``, or that of a ``CatalogEntry/Kind/directory(position:)``.
    /// - Throws: ``FormatError``: a block that is cut short or not exactly used up, a name that is too long or
    ///   no name, an unknown type, a sub-folder that does not lie before its folder.
    package func entries(at position: Int) throws(FormatError) -> [CatalogEntry] {
        let end = bytes.count - 8
        guard position >= 8, position < end else { throw .invalid("no folder starts there", offset: position) }
        var reader = ByteReader(bytes.span.extracting(0..<end))
        try reader.skip(position)
        let lengthOffset = reader.offset
        let length = try Varint.read(&reader)
        guard length <= UInt64(reader.remaining) else {
            throw .truncated(
                offset: lengthOffset, needed: Int(clamping: length), available: reader.remaining)
        }
        let blockEnd = reader.offset + Int(length)
        let countOffset = reader.offset
        let count = try Varint.read(&reader)
        // An entry takes three bytes or more: type, length, a byte of name.
        guard count <= length / 3 else { throw .tooLong(count, limit: Int(length / 3), offset: countOffset) }
        var entries: [CatalogEntry] = []
        entries.reserveCapacity(Int(count))
        for _ in 0..<count { entries.append(try Self.entry(&reader, blockStart: position)) }
        guard reader.offset == blockEnd else {
            throw .invalid("the folder's block does not end with its last entry", offset: reader.offset)
        }
        return entries
    }

    /// The entries of one folder, for readers that do not have the whole catalog in memory.
    ///
    /// - Parameters:
    ///   - block: Exactly the bytes behind the length that a folder begins with.
    ///   - position: Where the folder, length included, starts in the catalog.
    /// - Throws: ``FormatError`` as ``entries(at:)``.
    package static func entries(
        ofBlock block: [UInt8], at position: Int
    ) throws(FormatError) -> [CatalogEntry] {
        var reader = ByteReader(block.span)
        let count = try Varint.read(&reader)
        guard count <= UInt64(block.count / 3) else { throw .tooLong(count, limit: block.count / 3, offset: position) }
        var entries: [CatalogEntry] = []
        entries.reserveCapacity(Int(count))
        for _ in 0..<count { entries.append(try entry(&reader, blockStart: position)) }
        guard reader.remaining == 0 else {
            throw .invalid("the folder's block does not end with its last entry", offset: position)
        }
        return entries
    }

    private static func entry(_ reader: inout ByteReader, blockStart: Int) throws(FormatError) -> CatalogEntry {
        let start = reader.offset
        let type: UInt8 = try reader.read()
        let nameLength = try Varint.read(&reader)
        guard nameLength < UInt64(CatalogLayout.nameLimit) else {
            throw .tooLong(nameLength, limit: CatalogLayout.nameLimit - 1, offset: start + 1)
        }
        let nameOffset = reader.offset
        let name = try reader.readBytes(Int(nameLength))
        try CatalogLayout.checkName(name, offset: nameOffset)
        let kind: CatalogEntry.Kind
        switch type {
        case CatalogLayout.TypeByte.directory:
            let offset = reader.offset
            let distance = try Varint.read(&reader)
            guard distance > 0, distance <= UInt64(blockStart - 8) else {
                throw .invalid("a sub-folder must lie before its folder", offset: offset)
            }
            kind = .directory(position: blockStart - Int(distance))
        case CatalogLayout.TypeByte.file:
            let size = try Varint.read(&reader)
            kind = .file(size: size, modified: try Varint.readSigned(&reader))
        case CatalogLayout.TypeByte.symlink: kind = .symlink
        case CatalogLayout.TypeByte.hardLink: kind = .hardLink
        case CatalogLayout.TypeByte.blockDevice: kind = .blockDevice
        case CatalogLayout.TypeByte.characterDevice: kind = .characterDevice
        case CatalogLayout.TypeByte.fifo: kind = .fifo
        case CatalogLayout.TypeByte.socket: kind = .socket
        default: throw .invalid("unknown type of a catalog entry", offset: start)
        }
        return CatalogEntry(name: name, kind: kind)
    }

    /// The entry at a path of names below the root; nil where there is none, or where a folder is none.
    ///
    /// The empty path has no entry: ask for the entries at ``rootPosition``.
    package func entry(at path: [[UInt8]]) throws(FormatError) -> CatalogEntry? {
        var position = rootPosition
        for (index, name) in path.enumerated() {
            guard let found = try entries(at: position).first(where: { $0.name == name }) else { return nil }
            if index == path.count - 1 { return found }
            guard case .directory(let next) = found.kind else { return nil }
            position = next
        }
        return nil
    }

    /// The children of the folder at a path of names; nil where the path leads to no folder.
    package func entries(at path: [[UInt8]]) throws(FormatError) -> [CatalogEntry]? {
        if path.isEmpty { return try entries(at: rootPosition) }
        guard case .directory(let position)? = try entry(at: path)?.kind else { return nil }
        return try entries(at: position)
    }

    /// Visits every entry below the root, parents before children, with its path: names from the root on, its own
    /// last.
    ///
    /// - Throws: ``FormatError``, also where folders nest deeper than ``CatalogLayout/maxDepth`` or where a folder
    ///   appears at more than one place (which would make the walk as long as a hostile writer likes); what `visit`
    ///   throws.
    package func walk(_ visit: (_ path: [[UInt8]], _ entry: CatalogEntry) throws -> Void) throws {
        var pending: [(entries: [CatalogEntry], next: Int)] = [(try entries(at: rootPosition), 0)]
        var path: [[UInt8]] = []
        var visited: Set<Int> = [rootPosition]
        while let (entries, next) = pending.last {
            guard next < entries.count else {
                pending.removeLast()
                _ = path.popLast()
                continue
            }
            pending[pending.count - 1].next += 1
            let entry = entries[next]
            try visit(path + [entry.name], entry)
            guard case .directory(let position) = entry.kind else { continue }
            guard visited.insert(position).inserted else {
                throw FormatError.invalid("a folder appears twice in the catalog", offset: position)
            }
            guard pending.count <= CatalogLayout.maxDepth else {
                throw FormatError.invalid("folders nested deeper than \(CatalogLayout.maxDepth)", offset: position)
            }
            pending.append((try self.entries(at: position), 0))
            path.append(entry.name)
        }
    }
}

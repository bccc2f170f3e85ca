import BackupFormats
import Pxar

/// What is in one folder of a snapshot's archives, from the catalog, which is read folder by folder.
struct CatalogListing: Sendable {
    /// Bytes of one folder's block at most.
    private static let blockLimit = 64 << 20

    let content: ArchiveContent

    /// The entries of a folder; nil where the path leads to none.
    ///
    /// - Parameter path: Names, the name of an archive first; empty for the list of archives.
    func entries(at path: [[UInt8]]) async throws -> [CatalogEntry]? {
        guard content.size >= UInt64(CatalogLayout.minByteCount) else {
            throw FormatError.truncated(
                offset: 0, needed: CatalogLayout.minByteCount, available: Int(clamping: content.size))
        }
        let magic = try await number(at: 0)
        guard magic == CatalogLayout.magic else { throw FormatError.unknownMagic(magic, offset: 0) }
        var entries = try await block(at: try await number(at: content.size - 8))
        for name in path {
            guard case .directory(let position)? = entries.first(where: { $0.name == name })?.kind else { return nil }
            entries = try await block(at: UInt64(position))
        }
        return entries
    }

    private func number(at offset: UInt64) async throws -> UInt64 {
        let bytes = try await content.read(at: offset, count: 8)
        var reader = ByteReader(bytes.span)
        return try reader.read()
    }

    private func block(at position: UInt64) async throws -> [CatalogEntry] {
        let end = content.size - 8
        guard position >= 8, position < end else {
            throw FormatError.invalid("no folder starts there", offset: Int(clamping: position))
        }
        let head = try await content.read(
            at: position, count: Int(min(UInt64(Varint.maxUnsignedByteCount), end - position)))
        let (length, headCount) = try Self.length(head)
        let start = position + UInt64(headCount)
        guard length <= end - start else {
            throw FormatError.truncated(
                offset: Int(clamping: start), needed: Int(clamping: length), available: Int(clamping: end - start))
        }
        guard length <= UInt64(Self.blockLimit) else {
            throw FormatError.tooLong(length, limit: Self.blockLimit, offset: Int(clamping: start))
        }
        let bytes = try await content.read(at: start, count: Int(length))
        return try CatalogReader.entries(ofBlock: bytes, at: Int(clamping: position))
    }

    private static func length(_ head: [UInt8]) throws -> (UInt64, Int) {
        var reader = ByteReader(head.span)
        return (try Varint.read(&reader), reader.offset)
    }
}

extension FileArchive {
    /// The entries of a folder as a catalog has them; nil where the path leads to no folder.
    func entries(at path: [[UInt8]]) async throws -> [CatalogEntry]? {
        guard let folder = try await reader.node(at: path), case .directory = folder.entry.content else { return nil }
        return try await reader.children(of: folder).map { node in
            let modified = node.entry.metadata.stat.mtime.seconds
            let kind: CatalogEntry.Kind =
                switch node.entry.content {
                // Where a catalog would have the folder: nobody asks.
                case .directory: .directory(position: 0)
                case .file(let size), .fileReference(_, let size): .file(size: size, modified: modified)
                case .symlink: .symlink
                case .device:
                    node.entry.metadata.stat.kind == .blockDevice ? .blockDevice : .characterDevice
                case .fifo: .fifo
                case .socket: .socket
                case .hardLink: .hardLink
                }
            return CatalogEntry(name: node.entry.name, kind: kind)
        }
    }
}

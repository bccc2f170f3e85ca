import BackupFormats
import BackupProtocol
import Pxar

/// Something on its way into a downloaded archive.
struct FolderEntry: Sendable {
    enum Kind: Sendable {
        case directory, file, fifo, socket
        case symlink(target: [UInt8])
        case device(major: UInt32, minor: UInt32)
        /// Another name of a file that came before under the name given, or whose content follows where there is none.
        case hardLink(target: [UInt8]?)
    }

    /// From the folder that was asked for on, its own name first; without slash at the end.
    var path: [UInt8]
    var metadata: PxarMetadata
    var kind: Kind
    /// Bytes of content that follow.
    var size: UInt64 = 0
}

/// Writes an archive front to back. Each call gives the bytes that are ready then, possibly none.
protocol FolderWriter {
    static var contentType: String { get }
    /// Whether hard links to what was written before can stay links.
    static var keepsHardLinks: Bool { get }
    mutating func entry(_ entry: FolderEntry) throws -> [UInt8]
    /// After ``entry(_:)`` of something with content: its bytes in pieces, also none, then ``contentEnd()``.
    mutating func content(_ bytes: [UInt8]) throws -> [UInt8]
    mutating func contentEnd() throws -> [UInt8]
    mutating func end() throws -> [UInt8]
}

/// A folder of an archive with all below it, written as another kind of archive while it is sent.
///
/// Reads the archive in order; keeps one piece of it, one small file, and what the writer keeps.
actor FolderStream<Writer: FolderWriter & Sendable>: ByteSource {
    /// Bytes of the archive that are decoded at once.
    private static var pieceBytes: UInt64 { 256 * 1024 }
    /// What ZIP can express.
    private static var pathLimit: Int { 65_000 }

    private let archive: FileArchive
    /// Names above the folder, which paths of hard links begin with.
    private let parents: [UInt8]
    private let isWholeArchive: Bool
    private var writer: Writer
    private var decoder: PxarDecoder
    private var position: UInt64
    private var piece: [UInt8] = []
    private var offset = 0
    /// Of the folders that are open: how long the path is without their name.
    private var depths: [Int] = []
    private var path: [UInt8] = []
    /// A content elsewhere that is being written.
    private var content: (content: FileArchive.Content, position: UInt64)?
    private var ready: ArraySlice<UInt8> = []
    private var isOver = false

    /// - Parameters:
    ///   - folder: A folder of `archive`.
    ///   - parents: Path of the folder that `folder` is in, from the root of the archive, without slashes around it.
    init(_ folder: FileArchive.Reader.Node, of archive: FileArchive, parents: [UInt8], writer: Writer) {
        self.archive = archive
        self.parents = parents
        isWholeArchive = folder.entry.name.isEmpty
        self.writer = writer
        (decoder, position) = archive.reader.decoder(from: folder)
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        while ready.isEmpty {
            guard !isOver else { return nil }
            ready = try await advance()[...]
        }
        let part = ready.prefix(maxBytes)
        ready = ready.dropFirst(part.count)
        return Array(part)
    }

    private func advance() async throws -> [UInt8] {
        if let (current, start) = content {
            let count = min(current.range.upperBound - start, Self.pieceBytes)
            guard count > 0 else {
                content = nil
                return try writer.contentEnd()
            }
            content = (current, start + count)
            return try writer.content(try await current.source.read(at: start, count: Int(count)))
        }
        let event = try piece.withUnsafeBytes { try decoder.next(in: $0, at: &offset) }
        guard let event else {
            let source = archive.reader.source
            let count = min(Self.pieceBytes, source.size - position)
            guard count > 0 else {
                throw FormatError.truncated(offset: Int(clamping: position), needed: 1, available: 0)
            }
            piece = try await source.read(at: position, count: Int(count))
            position += count
            offset = 0
            return []
        }
        switch event {
        case .entry(let entry): return try await begin(entry)
        case .payload(let range): return try writer.content(Array(piece[range]))
        case .payloadEnd: return try writer.contentEnd()
        case .directoryEnd:
            path.removeLast(path.count - (depths.popLast() ?? 0))
            guard depths.isEmpty else { return [] }
            isOver = true
            return try writer.end()
        case .prelude: return []
        case .archiveEnd:
            isOver = true
            return []
        }
    }

    private func begin(_ entry: PxarEntry) async throws -> [UInt8] {
        let before = path.count
        if !path.isEmpty, !entry.name.isEmpty { path.append(UInt8(ascii: "/")) }
        path += entry.name
        guard path.count <= Self.pathLimit else {
            throw BackupFailure(.invalidInput, "A path in \(archive.name) is longer than \(Self.pathLimit) bytes")
        }
        var item = FolderEntry(path: path, metadata: entry.metadata, kind: .file)
        if case .directory = entry.content { depths.append(before) } else { path.removeLast(path.count - before) }
        switch entry.content {
        case .directory:
            // The root of the archive has no name of its own.
            guard !item.path.isEmpty else { return [] }
            item.kind = .directory
        case .file(let size): item.size = size
        case .fileReference(let offset, let size):
            item.size = size
            let found = try await archive.content(at: offset, size: size)
            content = (found, found.range.lowerBound)
        case .symlink(let target): item.kind = .symlink(target: target)
        case .device(let major, let minor): item.kind = .device(major: major, minor: minor)
        case .fifo: item.kind = .fifo
        case .socket: item.kind = .socket
        case .hardLink(_, let target): try await follow(target, &item)
        }
        return try writer.entry(item)
    }

    /// A hard link to something that was sent before stays one where the writer can; else the content is sent again.
    private func follow(_ target: [UInt8], _ item: inout FolderEntry) async throws {
        let names = (PxarName.components(of: target) ?? []).map { Array($0) }
        guard let node = try await archive.reader.node(at: names), let found = try await archive.content(of: node)
        else { throw BackupFailure(.corruptData, "a hard link of \(archive.name) does not lead to a file") }
        item.metadata = node.entry.metadata
        let whole = Array(names.joined(separator: [UInt8(ascii: "/")]))
        let prefix = parents.isEmpty ? [] : parents + [UInt8(ascii: "/")]
        let inside = whole.starts(with: prefix) ? Array(whole.dropFirst(prefix.count)) : nil
        let top = item.path.prefix { $0 != UInt8(ascii: "/") }
        let isSent = Writer.keepsHardLinks && inside.map { isBelowTop($0, top) } ?? false
        item.kind = .hardLink(target: isSent ? inside : nil)
        guard !isSent else { return }
        item.size = found.range.upperBound - found.range.lowerBound
        content = (found, found.range.lowerBound)
    }

    /// Whether a path, counted as those of the entries, lies in the folder that is sent.
    private func isBelowTop(_ path: [UInt8], _ top: ArraySlice<UInt8>) -> Bool {
        isWholeArchive || path.prefix { $0 != UInt8(ascii: "/") } == top
    }
}

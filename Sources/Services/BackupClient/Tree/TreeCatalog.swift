import BackupFormats
import Pxar

/// The catalog's side of a walk.
struct TreeCatalog {
    /// Bytes that wait before they are handed on.
    private static let pieceSize = 256 << 10

    var writer: CatalogWriter
    private let consume: ([UInt8]) throws -> Void

    init(_ writer: CatalogWriter, consume: @escaping ([UInt8]) throws -> Void) {
        self.writer = writer
        self.consume = consume
    }

    mutating func begin(_ name: [UInt8]) throws { try writer.beginDirectory(name) }

    mutating func end() throws {
        try writer.endDirectory()
        if writer.pendingByteCount >= Self.pieceSize { try flush() }
    }

    mutating func flush() throws {
        let bytes = writer.takeOutput()
        if !bytes.isEmpty { try consume(bytes) }
    }

    mutating func add(_ name: [UInt8], _ stat: PxarStat, size: UInt64) throws {
        switch stat.kind {
        case .regular: try writer.addFile(name, size: size, modified: stat.mtime.seconds)
        case .symlink: try writer.addSymlink(name)
        case .blockDevice: try writer.addBlockDevice(name)
        case .characterDevice: try writer.addCharacterDevice(name)
        case .fifo: try writer.addFIFO(name)
        case .socket: try writer.addSocket(name)
        case .directory, nil: break
        }
    }

    mutating func addHardLink(_ name: [UInt8]) throws { try writer.addHardLink(name) }
}

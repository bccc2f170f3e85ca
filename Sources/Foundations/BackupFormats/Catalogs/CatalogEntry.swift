/// One name in a folder of a catalog.
package struct CatalogEntry: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// The folder's own block starts at that position of the catalog.
        case directory(position: Int)
        /// Bytes, and Unix seconds of the last change.
        case file(size: UInt64, modified: Int64)
        case symlink, hardLink, blockDevice, characterDevice, fifo, socket
    }

    /// A name of 1 to 4095 bytes without `/` and NUL; not necessarily UTF-8.
    package let name: [UInt8]
    package let kind: Kind

    package init(name: [UInt8], kind: Kind) {
        self.name = name
        self.kind = kind
    }

    package var isDirectory: Bool { if case .directory = kind { true } else { false } }
}

/// Layout and limits of `catalog.pcat1.didx`'s stream: the magic, folders after their children, the root
/// folder, and the position of the root in the last 8 bytes. (Spec: formats §8.)
package enum CatalogLayout {
    package static let magic: UInt64 = 0xd558_67c4_f960_fd91
    /// Names have fewer bytes.
    package static let nameLimit = 4096
    /// The smallest catalog: magic, an empty root (2 bytes), its position.
    package static let minByteCount = 18
    /// Folders inside each other that a writer takes and a walk follows.
    package static let maxDepth = 2048

    enum TypeByte {
        static let directory = UInt8(ascii: "d")
        static let file = UInt8(ascii: "f")
        static let symlink = UInt8(ascii: "l")
        static let hardLink = UInt8(ascii: "h")
        static let blockDevice = UInt8(ascii: "b")
        static let characterDevice = UInt8(ascii: "c")
        static let fifo = UInt8(ascii: "p")
        static let socket = UInt8(ascii: "s")
    }

    static func checkName(_ name: [UInt8], offset: Int) throws(FormatError) {
        guard name.count < nameLimit else { throw .tooLong(UInt64(name.count), limit: nameLimit - 1, offset: offset) }
        guard !name.isEmpty, !name.contains(0), !name.contains(UInt8(ascii: "/")) else {
            throw .invalid("a name in a catalog is empty or has '/' or NUL", offset: offset)
        }
    }
}

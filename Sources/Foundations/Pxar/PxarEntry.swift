/// What an entry is, apart from its name and metadata.
package enum PxarContent: Hashable, Sendable {
    case directory
    /// A regular file of `size` bytes, which follow.
    case file(size: UInt64)
    /// A regular file whose bytes are in the payload stream of a split archive, behind a header at `offset`.
    case fileReference(offset: UInt64, size: UInt64)
    case symlink(target: [UInt8])
    case device(major: UInt32, minor: UInt32)
    case fifo
    case socket
    /// Another name of an earlier file: `distance` bytes back from this
    /// entry's file name to that of the target, whose path counts from the root.
    case hardLink(distance: UInt64, path: [UInt8])
}

/// A node of the tree, as it stands in the archive.
package struct PxarEntry: Hashable, Sendable {
    /// Raw bytes, without NUL; empty for the root.
    package var name: [UInt8]
    /// A hard link has none of its own: the mode is zero then.
    package var metadata: PxarMetadata
    package var content: PxarContent
    /// Where the entry's first item starts.
    package var position: UInt64

    package init(name: [UInt8], metadata: PxarMetadata, content: PxarContent, position: UInt64 = 0) {
        self.name = name
        self.metadata = metadata
        self.content = content
        self.position = position
    }
}

/// The rule for names in an archive.
package enum PxarName {
    /// Whether `name` may stand in a folder: not empty, not `.` or `..`, at
    /// most 4096 bytes, without a slash or NUL.
    package static func isAllowed(_ name: some Collection<UInt8>) -> Bool {
        guard !name.isEmpty, name.count <= PxarLimits.pathSize else { return false }
        let dot = UInt8(ascii: ".")
        if name.count <= 2, name.allSatisfy({ $0 == dot }) { return false }
        return !name.contains(0) && !name.contains(UInt8(ascii: "/"))
    }

    /// The components of a path from the root, or nil where one is not an allowed name or there is none.
    package static func components(of path: [UInt8]) -> [ArraySlice<UInt8>]? {
        let components = path.split(separator: UInt8(ascii: "/"))
        guard !components.isEmpty, components.allSatisfy({ isAllowed($0) }) else { return nil }
        return components
    }
}

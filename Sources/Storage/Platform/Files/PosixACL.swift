/// A POSIX access list as the kernel stores it in an extended attribute.
///
/// | Offset | Size | Field   | Content                                                          |
/// |-------:|-----:|---------|------------------------------------------------------------------|
/// |      0 |    4 | version | 2                                                                |
/// |  4+8·n |    2 | tag     | whom the entry is about, see ``Tag``                             |
/// |  6+8·n |    2 | rights  | read 4, write 2, execute 1                                       |
/// |  8+8·n |    4 | id      | user or group for the named tags, else 2^32 - 1                  |
///
/// All little-endian. Source: linux/posix_acl_xattr.h.
package struct PosixACL: Hashable, Sendable {
    /// The attribute with the list that governs access.
    package static let accessName = Array("system.posix_acl_access".utf8)
    /// The attribute with the list that a folder gives to what is made in it.
    package static let defaultName = Array("system.posix_acl_default".utf8)

    package enum Tag: UInt16, Sendable {
        case userObject = 1
        case user = 2
        case groupObject = 4
        case group = 8
        case mask = 16
        case other = 32
    }

    package struct Entry: Hashable, Sendable {
        package var tag: Tag
        package var permissions: UInt16
        package var id: UInt32

        package init(_ tag: Tag, _ permissions: UInt16, id: UInt32 = .max) {
            self.tag = tag
            self.permissions = permissions
            self.id = id
        }
    }

    package var entries: [Entry]

    package init(_ entries: [Entry]) {
        self.entries = entries
    }

    /// Reads an attribute's value; nil for another version, tag or length.
    package init?(parsing value: [UInt8]) {
        guard value.count >= 4, value.count % 8 == 4, value[0] == 2, value[1...3].allSatisfy({ $0 == 0 }) else {
            return nil
        }
        var entries: [Entry] = []
        for start in stride(from: 4, to: value.count, by: 8) {
            guard let tag = Tag(rawValue: UInt16(value[start]) | UInt16(value[start + 1]) << 8) else { return nil }
            let id = value[(start + 4)..<(start + 8)].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            entries.append(Entry(tag, UInt16(value[start + 2]) & 7, id: id))
        }
        self.entries = entries
    }

    /// The attribute's value, in the order that the kernel asks for: by tag, then by id.
    package var value: [UInt8] {
        var bytes: [UInt8] = [2, 0, 0, 0]
        for entry in entries.sorted(by: { ($0.tag.rawValue, $0.id) < ($1.tag.rawValue, $1.id) }) {
            bytes += [UInt8(entry.tag.rawValue), 0, UInt8(entry.permissions & 7), 0]
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: entry.id >> shift)) }
        }
        return bytes
    }

    package func permissions(of tag: Tag) -> UInt16? { entries.first { $0.tag == tag }?.permissions }
}

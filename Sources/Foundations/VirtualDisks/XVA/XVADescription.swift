package import BackupFormats

/// What `ova.xml` says about the disks of a machine. (Spec: xo-proxy §7.7.)
///
/// The document is an XML-RPC struct with a member `objects`: an array of structs `{ class, id, snapshot }`. Everything
/// but the disks is passed over: keep the bytes, they are written again as they came.
package struct XVADescription: Sendable, Equatable {
    private static let depthLimit = 64

    /// An object of class `VDI`.
    package struct Disk: Sendable, Equatable {
        /// `Ref:4`: the folder of its pieces.
        package let id: String
        package let uuid: String
        /// Its `name_label`.
        package let name: String
        /// Virtual size in bytes.
        package let size: UInt64
    }

    /// In the order of the document. A disk that is listed need not have pieces: the medium of a drive has none.
    package let disks: [Disk]

    /// - Throws: ``FormatError`` where this is no such document, or a disk has no id or size.
    package init(parsing bytes: [UInt8]) throws(FormatError) {
        guard bytes.count <= XVALimits.descriptionBytes else {
            throw .tooLong(UInt64(bytes.count), limit: XVALimits.descriptionBytes, offset: 0)
        }
        var parser = Parser(bytes)
        disks = try parser.parse()
    }

    /// Follows the structs and arrays, and notes the members of objects that matter.
    private struct Parser {
        private enum Level: Equatable {
            case object(member: String)
            case array
        }

        private var scanner: XMLScanner
        private var levels: [Level] = []
        private var tags: [String] = []
        /// Text of the innermost value, unless it holds a struct or array.
        private var scalar: String?
        /// Whether the text stands in a tag of its own, such as `<string>`; blanks around that are none of it.
        private var isTyped = false
        private var name = ""
        private var object: [String: String] = [:]
        private var disks: [Disk] = []
        private var sawObjects = false

        init(_ bytes: [UInt8]) { scanner = XMLScanner(bytes) }

        mutating func parse() throws(FormatError) -> [Disk] {
            while let token = try scanner.next() {
                switch token {
                case .open(let tag): try open(tag)
                case .close(let tag): try close(tag)
                case .text(let text):
                    if tags.last == "name" {
                        name += text
                    } else if tags.last == "value" ? !isTyped : isTyped {
                        scalar? += text
                    }
                }
            }
            guard tags.isEmpty else {
                throw .truncated(offset: scanner.offset, needed: tags.count, available: 0)
            }
            guard sawObjects else { throw .invalid("ova.xml has no list of objects", offset: 0) }
            return disks
        }

        private mutating func open(_ tag: String) throws(FormatError) {
            guard tags.count < XVADescription.depthLimit else {
                throw .tooLong(UInt64(tags.count) + 1, limit: XVADescription.depthLimit, offset: scanner.offset)
            }
            tags.append(tag)
            switch tag {
            case "struct":
                levels.append(.object(member: ""))
                scalar = nil
            case "array":
                if levels == [.object(member: "objects")] { sawObjects = true }
                levels.append(.array)
                scalar = nil
            case "name": name = ""
            case "value":
                scalar = ""
                isTyped = false
            default:
                if tags.dropLast().last == "value" {
                    scalar = ""
                    isTyped = true
                }
            }
        }

        private mutating func close(_ tag: String) throws(FormatError) {
            guard tags.popLast() == tag else { throw .invalid("</\(tag)> closes nothing", offset: scanner.offset) }
            switch tag {
            case "struct", "array": _ = levels.popLast()
            case "name": if case .object = levels.last { levels[levels.count - 1] = .object(member: name) }
            case "value": try endValue()
            default: break
            }
        }

        private mutating func endValue() throws(FormatError) {
            defer { scalar = nil }
            if levels == [.object(member: "objects"), .array] {
                try endObject()
            } else if let scalar, levels.count >= 3, levels[0] == .object(member: "objects"), levels[1] == .array,
                case .object(let member) = levels[2]
            {
                if levels.count == 3 {
                    object[member] = scalar
                } else if levels.count == 4, member == "snapshot", case .object(let field) = levels[3] {
                    object["snapshot." + field] = scalar
                }
            }
        }

        private mutating func endObject() throws(FormatError) {
            defer { object = [:] }
            guard object["class"] == "VDI" else { return }
            guard let id = object["id"], let size = object["snapshot.virtual_size"].flatMap({ UInt64($0) }),
                size <= VHDLimits.diskBytes
            else { throw .invalid("a disk in ova.xml without id or size", offset: scanner.offset) }
            disks.append(
                Disk(
                    id: id, uuid: object["snapshot.uuid"] ?? "", name: object["snapshot.name_label"] ?? "", size: size))
        }
    }
}

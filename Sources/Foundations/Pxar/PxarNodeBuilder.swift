import BackupFormats

/// An entry whose items are still arriving.
struct PxarNodeBuilder: Sendable {
    let name: [UInt8]
    let position: UInt64
    private var metadata: PxarMetadata?
    /// Bytes of attributes so far.
    private var attributesSize = 0

    init(name: [UInt8], position: UInt64) {
        self.name = name
        self.position = position
    }

    /// The stat has not come yet.
    var awaitsEntry: Bool { metadata == nil }

    /// Takes a stat or an attribute.
    mutating func add(_ type: PxarItemType, content: [UInt8], at offset: Int) throws(FormatError) {
        if type == .entry || type == .entryVersion1 {
            metadata = PxarMetadata(stat: try Self.stat(type, content, at: offset))
            return
        }
        attributesSize += content.count + PxarLimits.headerSize
        guard attributesSize <= PxarLimits.attributesSize else {
            throw .tooLong(UInt64(attributesSize), limit: PxarLimits.attributesSize, offset: offset)
        }
        guard var metadata else { throw .invalid("an attribute stands before its entry", offset: offset) }
        // Taken out, so that lists grow in place.
        self.metadata = nil
        defer { self.metadata = metadata }
        switch type {
        case .xattr:
            metadata.xattrs.append(try Self.xattr(content, at: offset))
        case .aclUser:
            metadata.acl.users.append(try Self.aclEntry(content, at: offset))
        case .aclGroup:
            metadata.acl.groups.append(try Self.aclEntry(content, at: offset))
        case .aclGroupObject:
            try Self.requireFirst(metadata.acl.groupObject == nil, offset)
            metadata.acl.groupObject = try Self.permissions(content.word(0), at: offset)
        case .aclDefault:
            try Self.requireFirst(metadata.acl.defaults == nil, offset)
            metadata.acl.defaults = try Self.aclDefault(content, at: offset)
        case .aclDefaultUser:
            metadata.acl.defaultUsers.append(try Self.aclEntry(content, at: offset))
        case .aclDefaultGroup:
            metadata.acl.defaultGroups.append(try Self.aclEntry(content, at: offset))
        case .fileCapabilities:
            try Self.requireFirst(metadata.fileCapabilities == nil, offset)
            metadata.fileCapabilities = content
        case .quotaProjectID:
            try Self.requireFirst(metadata.quotaProjectID == nil, offset)
            metadata.quotaProjectID = content.word(0)
        default:
            throw .invalid("an item is not an attribute", offset: offset)
        }
    }

    /// The entry, if its mode is of one of `kinds`.
    func finish(_ content: PxarContent, as kinds: PxarFileKind...) -> Result<PxarEntry, FormatError> {
        guard let metadata else { return .failure(failure("an entry has content but no metadata")) }
        guard let kind = metadata.stat.kind, kinds.contains(kind) else {
            return .failure(failure("an entry's content does not fit its mode"))
        }
        return .success(PxarEntry(name: name, metadata: metadata, content: content, position: position))
    }

    /// The entry of a kind that has no content item.
    func finishWithoutContent() -> Result<PxarEntry, FormatError> {
        switch metadata?.stat.kind {
        case .directory: finish(.directory, as: .directory)
        case .fifo: finish(.fifo, as: .fifo)
        case .socket: finish(.socket, as: .socket)
        default: .failure(failure("an entry lacks its content"))
        }
    }

    /// A path as the format stores it: with one byte behind it.
    func path(_ content: ArraySlice<UInt8>, what: String, at offset: Int) throws(FormatError) -> [UInt8] {
        let path = Array(content.dropLast())
        guard !path.contains(0) else { throw .invalid("\(what) contains NUL", offset: offset) }
        return path
    }

    private func failure(_ reason: String) -> FormatError {
        .invalid(reason, offset: Int(clamping: position))
    }
}

extension PxarNodeBuilder {
    private static func requireFirst(_ isFirst: Bool, _ offset: Int) throws(FormatError) {
        guard isFirst else { throw .invalid("an attribute occurs twice", offset: offset) }
    }

    private static func permissions(_ value: UInt64, at offset: Int) throws(FormatError) -> UInt64 {
        guard value <= 7 else { throw .invalid("permissions \(value) are above 7", offset: offset) }
        return value
    }

    private static func stat(_ type: PxarItemType, _ content: [UInt8], at offset: Int) throws(FormatError) -> PxarStat {
        let time: PxarTime
        if type == .entry {
            time = PxarTime(seconds: content.word(24, as: Int64.self), nanoseconds: content.word(32, as: UInt32.self))
        } else {
            let nanoseconds = content.word(24)
            time = PxarTime(
                seconds: Int64(nanoseconds / 1_000_000_000), nanoseconds: UInt32(nanoseconds % 1_000_000_000))
        }
        guard time.nanoseconds < 1_000_000_000 else {
            throw .invalid("nanoseconds are above 999,999,999", offset: offset)
        }
        let stat = PxarStat(
            mode: content.word(0), flags: content.word(8), uid: content.word(16, as: UInt32.self),
            gid: content.word(20, as: UInt32.self), mtime: time)
        guard stat.kind != nil else { throw .invalid("a mode is of no known kind", offset: offset) }
        return stat
    }

    private static func xattr(_ content: [UInt8], at offset: Int) throws(FormatError) -> PxarXAttr {
        guard let end = content.firstIndex(of: 0) else {
            throw .invalid("an attribute's name does not end", offset: offset)
        }
        guard (1...PxarLimits.xattrNameSize).contains(end) else {
            throw .invalid("an attribute's name has \(end) bytes", offset: offset)
        }
        return PxarXAttr(name: Array(content[..<end]), value: Array(content[(end + 1)...]))
    }

    private static func aclEntry(_ content: [UInt8], at offset: Int) throws(FormatError) -> PxarACLEntry {
        PxarACLEntry(id: content.word(0), permissions: try permissions(content.word(8), at: offset))
    }

    private static func aclDefault(_ content: [UInt8], at offset: Int) throws(FormatError) -> PxarACLDefault {
        func member(_ place: Int) throws(FormatError) -> UInt64? {
            let value = content.word(place)
            return value == PxarACLDefault.absent ? nil : try permissions(value, at: offset)
        }
        return PxarACLDefault(
            userObject: try member(0), groupObject: try member(8), other: try member(16), mask: try member(24))
    }
}

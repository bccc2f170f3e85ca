import BackupFormats

/// Which item may stand where, and what it means there.
extension PxarDecoder {
    /// Handles the header of an item; its content, if any, is gathered next.
    mutating func begin(_ type: PxarItemType, size: UInt64) throws(FormatError) -> PxarEvent? {
        switch type {
        case .fileName, .goodbye:
            if let node, !node.awaitsEntry {
                // Folders, FIFOs and sockets end where the next item is none of theirs.
                let event = try give(node.finishWithoutContent())
                holdForPending(type, size: size)
                return event
            }
            guard node == nil, !directories.isEmpty else { throw misplaced(type) }
            if type == .fileName { break }
            let item = UInt64(GoodbyeItem.byteCount)
            guard size >= item, size.isMultiple(of: item) else {
                throw .invalid("a folder's table of \(size) bytes is not made of items", offset: itemOffset)
            }
            state = .goodbye(remaining: size, size: size)
            return nil
        case .payload:
            guard let node, version == 1 else { throw misplaced(type) }
            let event = try give(node.finish(.file(size: size), as: .regular))
            state = .payload(remaining: size)
            return event
        case .formatVersion:
            guard !rootSeen, node == nil, !versionSeen else { throw misplaced(type) }
        case .prelude:
            guard !rootSeen, node == nil, versionSeen, version == 2, !preludeSeen else { throw misplaced(type) }
        case .entry, .entryVersion1:
            if let node {
                guard node.awaitsEntry else { throw misplaced(type) }
            } else {
                guard !rootSeen else { throw misplaced(type) }
                node = PxarNodeBuilder(name: [], position: itemStart)
                rootSeen = true
            }
        case .hardLink:
            guard let node, node.awaitsEntry, !node.name.isEmpty else { throw misplaced(type) }
        case .payloadStartMarker, .payloadTailMarker:
            throw misplaced(type)
        case .symlink, .device, .payloadReference, .xattr, .aclUser, .aclGroup, .aclGroupObject, .aclDefault,
            .aclDefaultUser, .aclDefaultGroup, .fileCapabilities, .quotaProjectID:
            guard let node, !node.awaitsEntry else { throw misplaced(type) }
        }
        state = .content(type, size: Int(size))
        return nil
    }

    /// Handles an item whose content has been gathered.
    mutating func end(_ type: PxarItemType, content: [UInt8]) throws(FormatError) -> PxarEvent? {
        switch type {
        case .formatVersion:
            let number = content.word(0)
            guard number == 1 || number == 2 else {
                throw .invalid("format version \(number) is not known", offset: itemOffset)
            }
            versionSeen = true
            version = Int(number)
            return nil
        case .prelude:
            preludeSeen = true
            return .prelude(content)
        case .fileName:
            try beginNode(content)
            return nil
        default:
            guard var node else { throw misplaced(type) }
            switch type {
            case .symlink:
                let target = try node.path(content[...], what: "a link's target", at: itemOffset)
                return try give(node.finish(.symlink(target: target), as: .symlink))
            case .device:
                return try give(node.finish(device(content), as: .blockDevice, .characterDevice))
            case .payloadReference:
                guard version == 2 else { throw misplaced(type) }
                let (offset, size) = (content.word(0), content.word(8))
                guard size <= UInt64(Int64.max), offset <= UInt64(Int64.max) - size else {
                    throw .tooLong(size, limit: Int.max, offset: itemOffset)
                }
                return try give(node.finish(.fileReference(offset: offset, size: size), as: .regular))
            case .hardLink:
                return try give(hardLink(content, of: node))
            default:
                // Taken out, so that its lists grow in place.
                self.node = nil
                try node.add(type, content: content, at: itemOffset)
                self.node = node
                return nil
            }
        }
    }

    private mutating func beginNode(_ content: [UInt8]) throws(FormatError) {
        guard content.last == 0 else { throw .invalid("a file name does not end with NUL", offset: itemOffset) }
        let name = Array(content.dropLast())
        guard PxarName.isAllowed(name) else { throw .invalid("a file name is not allowed", offset: itemOffset) }
        let isNew = directories[directories.count - 1].names.insert(PxarNameHash.hash(name)).inserted
        guard isNew else { throw .invalid("a file name occurs twice in a folder", offset: itemOffset) }
        node = PxarNodeBuilder(name: name, position: itemStart)
    }

    /// Makes the event of a complete entry; a folder is open from here on.
    private mutating func give(_ result: Result<PxarEntry, FormatError>) throws(FormatError) -> PxarEvent {
        let entry = try result.get()
        if case .directory = entry.content {
            guard directories.count < PxarLimits.depth else {
                throw .tooLong(UInt64(directories.count + 1), limit: PxarLimits.depth, offset: itemOffset)
            }
            directories.append(Directory())
        } else if directories.isEmpty {
            throw .invalid("the root is not a folder", offset: itemOffset)
        }
        node = nil
        return .entry(entry)
    }

    private func device(_ content: [UInt8]) throws(FormatError) -> PxarContent {
        guard let major = UInt32(exactly: content.word(0)), let minor = UInt32(exactly: content.word(8)) else {
            throw .invalid("a device number is out of range", offset: itemOffset)
        }
        return .device(major: major, minor: minor)
    }

    private func hardLink(
        _ content: [UInt8], of node: PxarNodeBuilder
    ) throws(FormatError) -> Result<PxarEntry, FormatError> {
        let distance = content.word(0)
        let path = try node.path(content[8...], what: "a hard link's target", at: itemOffset)
        guard PxarName.components(of: path) != nil else {
            throw .invalid("a hard link's target is not a path inside the archive", offset: itemOffset)
        }
        guard distance > 0, distance < node.position else {
            throw .invalid("a hard link's target is not before it", offset: itemOffset)
        }
        let content = PxarContent.hardLink(distance: distance, path: path)
        return .success(
            PxarEntry(
                name: node.name, metadata: PxarMetadata(stat: PxarStat(mode: 0)), content: content,
                position: node.position))
    }

    private func misplaced(_ type: PxarItemType) -> FormatError {
        .invalid("an item of kind \(type) does not belong here", offset: itemOffset)
    }
}

import BackupFormats
import Platform
import Pxar

/// Reads metadata as an archive stores it.
enum NodeMetadata {
    /// The attribute that becomes the item for capabilities.
    static let capabilityName = Array("security.capability".utf8)
    private static let fatMagic: UInt64 = 0x4d44

    /// The stat alone, without flags.
    static func stat(_ info: NodeInfo) -> PxarStat {
        PxarStat(
            mode: UInt64(info.mode), uid: info.user, gid: info.group,
            mtime: PxarTime(seconds: info.modifiedSeconds, nanoseconds: info.modifiedNanoseconds))
    }

    /// Everything about `node`.
    ///
    /// - Parameter skipped: Called with what was left out because the kernel cannot list it, where the caller allows it.
    static func read(
        _ node: OpenNode, _ info: NodeInfo, isFAT: Bool, skipsTooBigXAttrs: Bool, skipped: (String) -> Void
    ) throws -> PxarMetadata {
        var metadata = PxarMetadata(stat: stat(info))
        if info.kind == .file || info.kind == .folder {
            metadata.stat.flags = flags(node, isFAT: isFAT).rawValue
            if let project = node.quotaProject(), project != 0 { metadata.quotaProjectID = UInt64(project) }
        }
        for name in try xattrNames(node, skipsTooBig: skipsTooBigXAttrs, skipped) {
            if PxarXAttr.isArchived(name) {
                if let value = try node.xattr(name) { metadata.xattrs.append(PxarXAttr(name: name, value: value)) }
            } else if name == capabilityName {
                metadata.fileCapabilities = try node.xattr(name)
            } else if name == PosixACL.accessName {
                if let value = try node.xattr(name), let list = PosixACL(parsing: value) {
                    addAccess(list, to: &metadata.acl)
                }
            } else if name == PosixACL.defaultName {
                if let value = try node.xattr(name), let list = PosixACL(parsing: value) {
                    addDefault(list, to: &metadata.acl)
                }
            }
        }
        return metadata
    }

    private static func xattrNames(
        _ node: OpenNode, skipsTooBig: Bool, _ skipped: (String) -> Void
    ) throws(SystemError) -> [[UInt8]] {
        do throws(SystemError) {
            return try node.xattrNames()
        } catch {
            guard error.isTooBig, skipsTooBig else { throw error }
            skipped("extended attributes left out: \(error)")
            return []
        }
    }

    static func isFAT(_ node: OpenNode) -> Bool { (try? node.fileSystemMagic()) == fatMagic }

    private static func flags(_ node: OpenNode, isFAT: Bool) -> PxarFlags {
        var flags = PxarFlags(linux: node.flags() ?? 0)
        guard isFAT, let attributes = node.fatAttributes() else { return flags }
        if attributes & 2 != 0 { flags.insert(.fatHidden) }
        if attributes & 4 != 0 { flags.insert(.fatSystem) }
        if attributes & 32 != 0 { flags.insert(.fatArchive) }
        return flags
    }

    private static func named(_ list: PosixACL, _ tag: PosixACL.Tag) -> [PxarACLEntry] {
        list.entries.filter { $0.tag == tag }
            .map { PxarACLEntry(id: UInt64($0.id), permissions: UInt64($0.permissions)) }.sorted()
    }

    private static func addAccess(_ list: PosixACL, to acl: inout PxarACL) {
        acl.users = named(list, .user)
        acl.groups = named(list, .group)
        // With a mask the mode's group bits hold the mask, so that the group's own need a place.
        if list.permissions(of: .mask) != nil {
            acl.groupObject = list.permissions(of: .groupObject).map { UInt64($0) }
        }
    }

    private static func addDefault(_ list: PosixACL, to acl: inout PxarACL) {
        guard !list.entries.isEmpty else { return }
        func permissions(_ tag: PosixACL.Tag) -> UInt64? { list.permissions(of: tag).map { UInt64($0) } }
        acl.defaults = PxarACLDefault(
            userObject: permissions(.userObject), groupObject: permissions(.groupObject), other: permissions(.other),
            mask: permissions(.mask))
        acl.defaultUsers = named(list, .user)
        acl.defaultGroups = named(list, .group)
    }

    /// The access list that `metadata` means, or nil where the mode says it all.
    static func accessList(_ metadata: PxarMetadata) -> PosixACL? {
        let acl = metadata.acl
        guard !acl.users.isEmpty || !acl.groups.isEmpty || acl.groupObject != nil else { return nil }
        let mode = metadata.stat.permissions
        let group = UInt16(truncatingIfNeeded: mode >> 3 & 7)
        return PosixACL(
            [
                PosixACL.Entry(.userObject, UInt16(truncatingIfNeeded: mode >> 6 & 7)),
                PosixACL.Entry(.groupObject, acl.groupObject.map { UInt16($0) } ?? group),
                PosixACL.Entry(.mask, group),
                PosixACL.Entry(.other, UInt16(truncatingIfNeeded: mode & 7)),
            ] + entries(acl.users, .user) + entries(acl.groups, .group))
    }

    /// The list that a folder gives to what is made in it, or nil.
    static func defaultList(_ acl: PxarACL) -> PosixACL? {
        guard let defaults = acl.defaults else { return nil }
        let base: [(PosixACL.Tag, UInt64?)] = [
            (.userObject, defaults.userObject), (.groupObject, defaults.groupObject), (.other, defaults.other),
            (.mask, defaults.mask),
        ]
        return PosixACL(
            base.compactMap { tag, permissions in permissions.map { PosixACL.Entry(tag, UInt16($0)) } }
                + entries(acl.defaultUsers, .user) + entries(acl.defaultGroups, .group))
    }

    /// Ids above 32 bits exist in no kernel; such entries are left out.
    private static func entries(_ list: [PxarACLEntry], _ tag: PosixACL.Tag) -> [PosixACL.Entry] {
        list.compactMap { entry in
            UInt32(exactly: entry.id).map { PosixACL.Entry(tag, UInt16(entry.permissions), id: $0) }
        }
    }
}

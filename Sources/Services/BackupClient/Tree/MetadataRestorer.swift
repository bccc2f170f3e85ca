import Platform
import Pxar

/// Gives files the metadata of an archive. What cannot be set is told, and the rest is set.
struct MetadataRestorer {
    let options: TreeExtractOptions
    /// `0644` and `0755`: what new files and folders get where permissions are ignored.
    private static let ignoredModes: (file: UInt32, folder: UInt32) = (0o644, 0o755)
    /// Flags with which a file can no longer be given other names.
    static let locking: PxarFlags = [.immutable, .appendOnly]

    /// Sets the flags that only work on an empty file.
    func prepare(_ node: OpenNode, _ metadata: PxarMetadata) -> [String] {
        let flags = PxarFlags(rawValue: metadata.stat.flags).intersection(.appliedAtCreation)
        guard !flags.isEmpty else { return [] }
        return attempt { () throws(SystemError) in try node.setFlags((node.flags() ?? 0) | flags.linuxFlags) }
    }

    /// Sets everything but ``locking`` flags.
    ///
    /// - Parameters:
    ///   - info: What the node is like now.
    ///   - inheritsACL: The folder around was there before and may have given the node an access list.
    /// - Returns: What could not be set.
    func apply(
        _ metadata: PxarMetadata, to node: OpenNode, _ info: NodeInfo, inheritsACL: Bool
    ) -> [String] {
        let isLink = info.kind == .link
        var problems: [String] = []
        var isOwned = info.user == metadata.stat.uid && info.group == metadata.stat.gid
        if !options.ignoresOwnership, !isOwned {
            let failed = attempt { () throws(SystemError) in
                try node.setOwner(user: metadata.stat.uid, group: metadata.stat.gid)
            }
            isOwned = failed.isEmpty
            problems += failed
        }
        if !options.ignoresXAttrs { problems += applyXAttrs(metadata, to: node) }
        if !isLink {
            if !options.ignoresACLs { problems += applyACLs(metadata, to: node, info, inheritsACL: inheritsACL) }
            problems += applyMode(metadata, to: node, info, isOwned: isOwned)
        }
        if info.kind == .file || info.kind == .folder {
            if let project = metadata.quotaProjectID.flatMap({ UInt32(exactly: $0) }) {
                problems += attempt { () throws(SystemError) in try node.setQuotaProject(project) }
            }
        }
        let time = metadata.stat.mtime
        problems += attempt { () throws(SystemError) in
            try node.setModified(seconds: time.seconds, nanoseconds: time.nanoseconds)
        }
        if info.kind == .file || info.kind == .folder { problems += applyFlags(metadata, to: node) }
        return problems
    }

    /// Sets the flags that make a file refuse further changes.
    func lock(_ node: OpenNode, _ metadata: PxarMetadata) -> [String] {
        let flags = PxarFlags(rawValue: metadata.stat.flags).intersection(Self.locking)
        guard !flags.isEmpty else { return [] }
        return attempt { () throws(SystemError) in try node.setFlags((node.flags() ?? 0) | flags.linuxFlags) }
    }

    private func attempt(_ body: () throws(SystemError) -> Void) -> [String] {
        do throws(SystemError) {
            try body()
            return []
        } catch {
            return ["\(error)"]
        }
    }

    private func applyXAttrs(_ metadata: PxarMetadata, to node: OpenNode) -> [String] {
        var problems: [String] = []
        for xattr in metadata.xattrs {
            let name = String(decoding: xattr.name, as: UTF8.self)
            guard PxarXAttr.isArchived(xattr.name) else {
                problems.append("attribute \(name) left out: archives do not carry it")
                continue
            }
            problems += attempt { () throws(SystemError) in try node.setXAttr(xattr.name, to: xattr.value) }
        }
        if let capabilities = metadata.fileCapabilities {
            problems += attempt { () throws(SystemError) in
                try node.setXAttr(NodeMetadata.capabilityName, to: capabilities)
            }
        }
        return problems
    }

    private func applyACLs(
        _ metadata: PxarMetadata, to node: OpenNode, _ info: NodeInfo, inheritsACL: Bool
    ) -> [String] {
        var problems: [String] = []
        if let list = NodeMetadata.accessList(metadata) {
            problems += attempt { () throws(SystemError) in try node.setXAttr(PosixACL.accessName, to: list.value) }
        } else if inheritsACL {
            // Nothing to remove is the usual case.
            _ = attempt { () throws(SystemError) in try node.removeXAttr(PosixACL.accessName) }
        }
        guard info.kind == .folder else { return problems }
        if let list = NodeMetadata.defaultList(metadata.acl) {
            problems += attempt { () throws(SystemError) in try node.setXAttr(PosixACL.defaultName, to: list.value) }
        } else if inheritsACL {
            _ = attempt { () throws(SystemError) in try node.removeXAttr(PosixACL.defaultName) }
        }
        return problems
    }

    private func applyMode(
        _ metadata: PxarMetadata, to node: OpenNode, _ info: NodeInfo, isOwned: Bool
    ) -> [String] {
        var mode = metadata.stat.permissions
        if options.ignoresPermissions {
            mode = info.kind == .folder ? Self.ignoredModes.folder : Self.ignoredModes.file
        } else if !isOwned, info.kind != .folder {
            // Setuid is for the owner that the file had, not for the one it has now.
            mode &= 0o1777
        }
        return attempt { () throws(SystemError) in try node.setMode(mode) }
    }

    private func applyFlags(_ metadata: PxarMetadata, to node: OpenNode) -> [String] {
        let flags = PxarFlags(rawValue: metadata.stat.flags)
        var problems: [String] = []
        let late = flags.subtracting(Self.locking)
        if late.linuxFlags != 0 {
            problems += attempt { () throws(SystemError) in try node.setFlags((node.flags() ?? 0) | late.linuxFlags) }
        }
        let fat =
            (flags.contains(.fatHidden) ? 2 : 0) | (flags.contains(.fatSystem) ? 4 : 0)
            | (flags.contains(.fatArchive) ? 32 : 0) as UInt32
        if fat != 0, NodeMetadata.isFAT(node) {
            problems += attempt { () throws(SystemError) in try node.setFATAttributes(fat) }
        }
        return problems
    }
}

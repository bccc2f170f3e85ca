import BackupFormats

extension PxarEncoder {
    /// The entry item and the attributes, in the order that writers use.
    static func append(_ metadata: PxarMetadata, to output: inout [UInt8]) throws(FormatError) {
        output.appendHeader(.entry, contentSize: UInt64(PxarStat.byteCount))
        metadata.stat.append(to: &output)
        for xattr in metadata.xattrs {
            let size = xattr.name.count + 1 + xattr.value.count
            try check(size)
            output.appendHeader(.xattr, contentSize: UInt64(size))
            output += xattr.name
            output.append(0)
            output += xattr.value
        }
        append(metadata.acl, to: &output)
        if let capabilities = metadata.fileCapabilities {
            try check(capabilities.count)
            output.appendHeader(.fileCapabilities, contentSize: UInt64(capabilities.count))
            output += capabilities
        }
        if let projectID = metadata.quotaProjectID {
            output.appendHeader(.quotaProjectID, contentSize: 8)
            output.appendLittleEndian(projectID)
        }
    }

    private static func check(_ size: Int) throws(FormatError) {
        guard size <= PxarLimits.xattrSize else {
            throw .tooLong(UInt64(size), limit: PxarLimits.xattrSize, offset: 0)
        }
    }

    private static func append(_ acl: PxarACL, to output: inout [UInt8]) {
        append(acl.users, as: .aclUser, to: &output)
        append(acl.groups, as: .aclGroup, to: &output)
        if let permissions = acl.groupObject {
            output.appendHeader(.aclGroupObject, contentSize: 8)
            output.appendLittleEndian(permissions)
        }
        if let defaults = acl.defaults {
            output.appendHeader(.aclDefault, contentSize: 32)
            for permissions in [defaults.userObject, defaults.groupObject, defaults.other, defaults.mask] {
                output.appendLittleEndian(permissions ?? PxarACLDefault.absent)
            }
        }
        append(acl.defaultUsers, as: .aclDefaultUser, to: &output)
        append(acl.defaultGroups, as: .aclDefaultGroup, to: &output)
    }

    private static func append(_ entries: [PxarACLEntry], as type: PxarItemType, to output: inout [UInt8]) {
        for entry in entries {
            output.appendHeader(type, contentSize: 16)
            output.appendLittleEndian(entry.id)
            output.appendLittleEndian(entry.permissions)
        }
    }
}

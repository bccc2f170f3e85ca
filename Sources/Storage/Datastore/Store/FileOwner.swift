import Platform

/// The user and group that own the store's files: those of `.chunks`. (Design decision 2.)
struct FileOwner: Sendable {
    let user: UInt32
    let group: UInt32

    /// What new files must be given to; nil where the process's own user and group are right already.
    var toGive: (user: UInt32, group: UInt32)? {
        ProcessInformation.userID == user && ProcessInformation.groupID == group ? nil : (user, group)
    }

    /// Why this process cannot write files that the owner owns; nil where it can.
    var obstacle: String? {
        if ProcessInformation.isRoot || toGive == nil { return nil }
        return
            "its files belong to user \(user) and group \(group), and this process is user \(ProcessInformation.userID)"
            + " and group \(ProcessInformation.groupID)"
    }

    @discardableResult
    func makeFolder(_ path: String, mode: UInt32) throws(SystemError) -> Bool {
        guard try FileSystem.makeFolder(path, mode: mode) else { return false }
        try give(path)
        return true
    }

    func give(_ path: String) throws(SystemError) {
        if let toGive { try FileSystem.setOwner(path, user: toGive.user, group: toGive.group) }
    }
}

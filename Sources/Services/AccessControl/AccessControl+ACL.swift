package import BackupFormats
package import StateDatabase

/// One entry to be added or taken away.
package struct ACLChange: Sendable {
    package var path: AccessPath
    package var role: Role
    package var subject: AuthID
    /// Whether it reaches the paths below; of no matter for removal.
    package var propagates: Bool
    package var isRemoval: Bool

    package init(
        path: AccessPath, role: Role, subject: AuthID, propagates: Bool = true, isRemoval: Bool = false
    ) {
        self.path = path
        self.role = role
        self.subject = subject
        self.propagates = propagates
        self.isRemoval = isRemoval
    }
}

/// The use cases behind `/access/acl`; each checks its caller. (Spec: rest D.10, E.3.)
extension AccessControl {
    /// The entries, all with Sys.Audit on `/access/acl`, else those of the caller's own tokens.
    ///
    /// - Parameters:
    ///   - path: Nil for all paths.
    ///   - isExact: Whether the paths below are left out.
    package func aclEntries(
        on path: AccessPath? = nil, isExact: Bool = false, for caller: Identity
    ) -> Listing<ACLRecord> {
        let state = current
        let seesAll = state.privileges(of: caller.authID, on: .accessACL).privileges.contains(.sysAudit)
        let entries = state.acl.filter { entry in
            guard seesAll || Self.isOwnToken(entry.subject, caller) else { return false }
            guard let path else { return true }
            guard let place = AccessPath(parsing: entry.path) else { return false }
            return isExact ? place == path : place.components.starts(with: path.components)
        }
        return Listing(items: entries, digest: state.aclDigest)
    }

    /// Adds or removes a role somewhere. Needs Permissions.Modify on `/access/acl`; without it, users may do so for
    /// their own tokens only. (A token never has more than its user, whatever its entries say.)
    package func changeACL(_ entry: ACLChange, digest: String? = nil, by caller: Identity) throws {
        let state = current
        let mayAll = state.privileges(of: caller.authID, on: .accessACL).privileges.contains(.permissionsModify)
        guard mayAll || Self.isOwnToken(entry.subject, caller) else {
            throw BackupFailure(.invalidInput, "Unprivileged users can only set ACL items for their own API tokens.")
        }
        try change { writer, state in
            try writer.requireDigest(digest, of: .acl)
            if entry.isRemoval {
                try writer.removeACL(path: entry.path.description, subject: entry.subject, role: entry.role.rawValue)
                return
            }
            guard entry.path.isValidForACL else {
                throw BackupFailure(.invalidInput, "invalid acl path '\(entry.path)'.")
            }
            guard entry.subject.isToken ? state.token(entry.subject) != nil : state.user(entry.subject) != nil else {
                throw BackupFailure(.invalidInput, "no such \(entry.subject.isToken ? "API token" : "user").")
            }
            try writer.put(
                ACLRecord(
                    path: entry.path.description, subject: entry.subject, role: entry.role.rawValue,
                    propagates: entry.propagates))
        }
    }

    private static func isOwnToken(_ subject: AuthID, _ caller: Identity) -> Bool {
        !caller.authID.isToken && subject.isToken && subject.user == caller.authID
    }
}

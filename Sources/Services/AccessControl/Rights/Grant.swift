package import BackupFormats

/// Who acts, and how that was proven. Only ``AccessControl`` makes one.
package struct Identity: Hashable, Sendable {
    package enum Proof: Sendable {
        /// A login ticket in a cookie.
        case ticket
        /// The secret of an API token.
        case token
        /// The local secret of the state folder, over loopback.
        case local
        /// A caller inside this process.
        case inProcess
    }

    package let authID: AuthID
    package let proof: Proof

    init(authID: AuthID, proof: Proof) {
        self.authID = authID
        self.proof = proof
    }

    package var isSuperuser: Bool { authID == .root }
}

/// Proof that somebody held privileges on a path when it was asked. Only ``AccessControl`` makes one, so what takes a
/// grant cannot be reached without the check.
package struct Grant: Sendable {
    package let identity: Identity
    package let path: AccessPath
    /// All that the identity holds there, at least what was asked for.
    package let privileges: Privileges

    init(identity: Identity, path: AccessPath, privileges: Privileges) {
        self.identity = identity
        self.path = path
        self.privileges = privileges
    }

    package var authID: AuthID { identity.authID }
}

/// A grant for the content of a namespace: for all groups in it, or for the caller's own only.
package struct ContentGrant: Sendable {
    package let grant: Grant
    /// Whether the caller may touch only groups that ``Ownership`` lets it have.
    package let requiresOwner: Bool

    init(grant: Grant, requiresOwner: Bool) {
        self.grant = grant
        self.requiresOwner = requiresOwner
    }

    package var authID: AuthID { grant.authID }

    package func covers(owner: AuthID) -> Bool {
        !requiresOwner || Ownership.accepts(owner: owner, caller: authID)
    }

    /// - Throws: ``BackupFailure`` of kind `invalidInput`: the original answers 400, and clients rely on it.
    package func checkOwner(_ owner: AuthID, of object: String) throws {
        guard covers(owner: owner) else {
            throw BackupFailure(.invalidInput, "\(object) is owned by \(owner), not by \(authID)")
        }
    }
}

/// Whose a group is. (Spec: rest D.11.)
package enum Ownership {
    /// Whether `caller` counts as the owner: it is the owner, or the owner is one of its tokens. A token does not count
    /// as the owner of what its user owns.
    package static func accepts(owner: AuthID, caller: AuthID) -> Bool {
        owner == caller || !caller.isToken && owner.isToken && owner.user == caller
    }

    /// Whether a user without Datastore.Modify may hand a group on: from itself to an own token, back, or between own
    /// tokens. A token may do none of these.
    package static func mayHandOn(from old: AuthID, to new: AuthID, caller: AuthID) -> Bool {
        !caller.isToken && old.user == caller && new.user == caller && (old.isToken || new.isToken)
    }
}

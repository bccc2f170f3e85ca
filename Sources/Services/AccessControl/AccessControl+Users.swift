package import BackupFormats
package import StateDatabase

/// The use cases behind `/access/users` and `/access/password`; each checks its caller. (Spec: rest E.3.)
extension AccessControl {
    /// All users with Sys.Audit on `/access/users`, else the caller's own.
    package func users(for caller: Identity) -> Listing<UserRecord> {
        let state = current
        let seesAll = state.privileges(of: caller.authID, on: .accessUsers).privileges.contains(.sysAudit)
        let users = state.users.filter { seesAll || $0.id == caller.authID.user }
        return Listing(items: users, digest: state.usersDigest)
    }

    /// - Throws: ``BackupFailure`` of kind `notAuthorized` before `noSuchObject`.
    package func user(_ id: AuthID, for caller: Identity) throws -> Listing<UserRecord> {
        let state = current
        try requireReading(of: id, by: caller, state)
        return Listing(items: [try Self.existing(id, state)], digest: state.usersDigest)
    }

    package func addUser(_ user: NewUser, by caller: Identity) async throws {
        try require(.permissionsModify, for: caller, orSelf: nil, current)
        try Self.check(user)
        let hash: String?
        if let password = user.password {
            try AccountRules.checkNewPassword(password)
            try Self.requirePasswords(user.id)
            hash = try await hashing.hash(password)
        } else {
            hash = nil
        }
        try change { writer, state in
            guard state.user(user.id) == nil else {
                throw BackupFailure(.invalidInput, "user '\(user.id)' already exists.")
            }
            try writer.put(
                UserRecord(
                    id: user.id, comment: user.comment, isEnabled: user.isEnabled, expire: user.expire,
                    firstName: user.firstName, lastName: user.lastName, email: user.email, passwordHash: hash))
        }
    }

    /// Users may change the texts about themselves; `enable` and `expire` need Permissions.Modify, so that nobody
    /// prolongs the own account.
    package func changeUser(_ id: AuthID, _ changes: UserChange, digest: String?, by caller: Identity) throws {
        let touchesAccount = changes.isEnabled != nil || changes.expire != nil
        try require(.permissionsModify, for: caller, orSelf: touchesAccount ? nil : id, current)
        try AccountRules.checkComment(changes.comment.newValue)
        try AccountRules.checkName(changes.firstName.newValue, "The first name")
        try AccountRules.checkName(changes.lastName.newValue, "The last name")
        try AccountRules.checkName(changes.email.newValue, "The email address")
        try AccountRules.checkExpire(changes.expire)
        guard id != .root || !touchesAccount else {
            throw BackupFailure(.invalidInput, "\(id) can neither be disabled nor expire")
        }
        try change { writer, state in
            try writer.requireDigest(digest, of: .users)
            var user = try Self.existing(id, state)
            changes.comment.apply(to: &user.comment)
            changes.firstName.apply(to: &user.firstName)
            changes.lastName.apply(to: &user.lastName)
            changes.email.apply(to: &user.email)
            if let isEnabled = changes.isEnabled { user.isEnabled = isEnabled }
            if let expire = changes.expire { user.expire = expire }
            try writer.put(user)
        }
        if changes.isEnabled == true { forgetFailures(of: id) }
    }

    /// Removes the user, its tokens, and all roles of both.
    package func removeUser(_ id: AuthID, digest: String?, by caller: Identity) throws {
        try require(.permissionsModify, for: caller, orSelf: id, current)
        guard id != .root else { throw BackupFailure(.invalidInput, "\(id) cannot be removed") }
        try change { writer, state in
            try writer.requireDigest(digest, of: .users)
            _ = try Self.existing(id, state)
            for token in state.tokens where token.id.user == id {
                try writer.remove(token.id)
                try writer.removeACL(of: token.id)
            }
            try writer.remove(id)
            try writer.removeACL(of: id)
        }
    }

    /// Changes a password: the own one, or with Permissions.Modify on `/` anybody's.
    ///
    /// - Parameter confirmation: The caller's current password; only `root@pam` needs none.
    /// - Throws: ``BackupFailure`` of kind `notAuthenticated` where the confirmation is missing or wrong or the caller
    ///   is a token, `unsupported` where the user's realm has no passwords.
    package func changePassword(
        of id: AuthID, to password: String, confirmation: String?, by caller: Identity
    ) async throws {
        if !caller.isSuperuser {
            guard !caller.authID.isToken, let confirmation else {
                throw BackupFailure(.notAuthenticated, "missing password")
            }
            do {
                let user = try Self.existing(caller.authID, current)
                try await guarded(user.id, from: "") { try await verify(confirmation, of: user) }
            } catch is CredentialFault {
                throw BackupFailure(.notAuthenticated, "permission check failed.")
            }
        }
        if caller.authID != id { _ = try grant(.permissionsModify, on: .root, to: caller) }
        _ = try Self.existing(id, current)
        try AccountRules.checkNewPassword(password)
        try Self.requirePasswords(id)
        let hash = try await hashing.hash(password)
        try change { writer, state in
            var user = try Self.existing(id, state)
            user.passwordHash = hash
            try writer.put(user)
        }
        forgetFailures(of: id)
    }

    /// Users, and tokens for their users, may read about themselves; about others with Sys.Audit on `/access/users`.
    func requireReading(of id: AuthID, by caller: Identity, _ state: AccessState) throws {
        try require(.sysAudit, for: caller, orSelf: caller.authID.user == id ? caller.authID : nil, state)
    }

    /// - Parameter id: Who needs no privilege, because it acts on itself.
    func require(_ privileges: Privileges, for caller: Identity, orSelf id: AuthID?, _ state: AccessState) throws {
        if let id, caller.authID == id { return }
        guard state.privileges(of: caller.authID, on: .accessUsers).privileges.isSuperset(of: privileges) else {
            throw Self.refusal(privileges, "&", .accessUsers)
        }
    }

    static func existing(_ id: AuthID, _ state: AccessState) throws -> UserRecord {
        guard let user = state.user(id) else { throw BackupFailure(.noSuchObject, "no such user '\(id)'") }
        return user
    }

    private static func requirePasswords(_ id: AuthID) throws {
        guard id.realm == Realm.pbs.rawValue else {
            throw BackupFailure(.unsupported, "Users of realm \(id.realm) have no password here")
        }
    }

    private static func check(_ user: NewUser) throws {
        guard !user.id.isToken else { throw BackupFailure(.invalidInput, "\(user.id) is a token, not a user") }
        guard Realm(rawValue: user.id.realm) != nil else {
            throw BackupFailure(.invalidInput, "There is no realm '\(user.id.realm)'")
        }
        try AccountRules.checkComment(user.comment)
        try AccountRules.checkName(user.firstName, "The first name")
        try AccountRules.checkName(user.lastName, "The last name")
        try AccountRules.checkName(user.email, "The email address")
        try AccountRules.checkExpire(user.expire)
    }
}

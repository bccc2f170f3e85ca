package import BackupFormats

extension AccessControl {
    /// What somebody may do on a path.
    package func privileges(of id: AuthID, on path: AccessPath) -> Privileges {
        current.privileges(of: id, on: path).privileges
    }

    /// Whether a user or token exists, is enabled and has not expired; of a token, its user too.
    package func isActive(_ id: AuthID) -> Bool { current.isActive(id, at: time.seconds) }

    /// Whether somebody holds one of the privileges on the path or anywhere below it; listings ask this.
    package func hasAny(_ privileges: Privileges, onOrBelow path: AccessPath, of id: AuthID) -> Bool {
        current.hasAny(privileges, onOrBelow: path, of: id)
    }

    /// - Throws: ``BackupFailure`` of kind `notAuthorized` where one of the privileges is missing.
    package func grant(_ privileges: Privileges, on path: AccessPath, to identity: Identity) throws -> Grant {
        let held = self.privileges(of: identity.authID, on: path)
        guard held.isSuperset(of: privileges) else { throw Self.refusal(privileges, "&", path) }
        return Grant(identity: identity, path: path, privileges: held)
    }

    /// - Throws: ``BackupFailure`` of kind `notAuthorized` where none of the privileges is held.
    package func grant(anyOf privileges: Privileges, on path: AccessPath, to identity: Identity) throws -> Grant {
        let held = self.privileges(of: identity.authID, on: path)
        guard !held.isDisjoint(with: privileges) else { throw Self.refusal(privileges, "|", path) }
        return Grant(identity: identity, path: path, privileges: held)
    }

    /// The two-level check of content: with one of the `full` privileges on the namespace everything in it, with one of
    /// the `partial` ones the groups that the caller owns. (Spec: rest D.11.)
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthorized`.
    package func contentGrant(
        full: Privileges, partial: Privileges, store: String, namespace: Namespace, to identity: Identity
    ) throws -> ContentGrant {
        let path = AccessPath.datastore(store, namespace)
        let grant = try grant(anyOf: full.union(partial), on: path, to: identity)
        return ContentGrant(grant: grant, requiresOwner: grant.privileges.isDisjoint(with: full))
    }

    static func refusal(_ privileges: Privileges, _ separator: String, _ path: AccessPath) -> BackupFailure {
        BackupFailure(
            .notAuthorized, "missing permissions '\(privileges.names.joined(separator: separator))' on '\(path)'",
            hints: ["An administrator can give a role that has them."])
    }

    /// What somebody holds, for `GET /access/permissions`: on one path, or on all paths with entries and the five main
    /// ones. Paths without any privilege are left out. (Spec: rest D.12.)
    ///
    /// - Parameter subject: Nil for the caller's own; another needs Sys.Audit on `/access`, save a token of the caller.
    /// - Throws: ``BackupFailure`` of kind `invalidInput`, as the original does, where it may not be listed.
    package func permissions(
        of subject: AuthID?, on path: AccessPath?, for caller: Identity
    ) throws -> [(path: AccessPath, held: HeldPrivileges)] {
        let state = current
        let subject = subject ?? caller.authID
        let isOwn = subject == caller.authID || subject.isToken && subject.user == caller.authID
        guard isOwn || state.privileges(of: caller.authID, on: .access).privileges.contains(.sysAudit) else {
            throw BackupFailure(.invalidInput, "not allowed to list permissions of \(subject)")
        }
        let paths =
            path.map { [$0] } ?? Set(state.tree.paths + [.root, .access, .datastore, .remote, .system]).sorted()
        return paths.map { ($0, state.privileges(of: subject, on: $0)) }.filter { !$0.held.privileges.isEmpty }
    }
}

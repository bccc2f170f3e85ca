import BackupFormats
import StateDatabase

/// Everything that checks need, in memory: read from the database at the start and after each change.
struct AccessState: Sendable {
    /// In order of creation, `root@pam` in front if nothing is stored about it.
    var users: [UserRecord]
    var tokens: [TokenRecord]
    var acl: [ACLRecord]
    var usersDigest: String
    var aclDigest: String
    private(set) var tree = AccessTree()
    private var userIndex: [AuthID: Int] = [:]
    private var tokenIndex: [AuthID: Int] = [:]

    init(_ state: StateReader) throws {
        users = try state.users()
        if !users.contains(where: { $0.id == .root }) {
            users.insert(UserRecord(id: .root, comment: "Built-in superuser"), at: 0)
        }
        tokens = try state.tokens()
        acl = try state.acl()
        usersDigest = try state.digest(of: .users)
        aclDigest = try state.digest(of: .acl)
        for (index, user) in users.enumerated() { userIndex[user.id] = index }
        for (index, token) in tokens.enumerated() { tokenIndex[token.id] = index }
        for entry in acl {
            // An entry of a newer version may name a role or have a form that this one does not know: it gives nothing.
            guard let role = Role(rawValue: entry.role), let path = AccessPath(parsing: entry.path) else { continue }
            tree.add(role, to: entry.subject, on: path, propagates: entry.propagates)
        }
    }

    func user(_ id: AuthID) -> UserRecord? { userIndex[id].map { users[$0] } }
    func token(_ id: AuthID) -> TokenRecord? { tokenIndex[id].map { tokens[$0] } }

    /// Whether the user, or the token and its user, exist, are enabled and have not expired.
    func isActive(_ id: AuthID, at now: Int64) -> Bool {
        guard let user = user(id.user), Self.isActive(user.isEnabled, user.expire, now) else { return false }
        guard id.isToken else { return true }
        guard let token = token(id) else { return false }
        return Self.isActive(token.isEnabled, token.expire, now)
    }

    private static func isActive(_ isEnabled: Bool, _ expire: Int64, _ now: Int64) -> Bool {
        isEnabled && (expire == 0 || expire > now)
    }

    /// What somebody holds on a path: the superuser everything, a token what both it and its user hold.
    func privileges(of id: AuthID, on path: AccessPath) -> HeldPrivileges {
        if id == .root { return .all }
        let own = tree.privileges(of: id, on: path)
        return id.isToken ? own.intersection(privileges(of: id.user, on: path)) : own
    }

    /// Whether somebody holds one of the privileges on the path or on any path below it.
    func hasAny(_ privileges: Privileges, onOrBelow path: AccessPath, of id: AuthID) -> Bool {
        if !self.privileges(of: id, on: path).privileges.isDisjoint(with: privileges) { return true }
        return tree.paths.contains { below in
            below.components.count > path.components.count && below.components.starts(with: path.components)
                && !self.privileges(of: id, on: below).privileges.isDisjoint(with: privileges)
        }
    }
}

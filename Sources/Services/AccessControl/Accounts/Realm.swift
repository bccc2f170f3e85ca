/// Where users come from. (Spec: rest D.1, E.3.)
package enum Realm: String, CaseIterable, Sendable {
    /// The machine's users; only `root@pam`, who has no password here, and owners of tokens.
    case pam
    /// Users with a password in the state database.
    case pbs

    package var comment: String {
        switch self {
        case .pam: "Built-in superuser and users without a password"
        case .pbs: "Users of this server"
        }
    }
    /// The one that login forms propose.
    package var isDefault: Bool { self == .pbs }
}

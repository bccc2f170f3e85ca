/// Who may call an endpoint. Privileges and access paths are named as in rest D.9 and D.10; `{…}` in a path stands for the
/// parameter of that name in the request's path.
package enum AccessRule: Sendable, Equatable {
    /// Everybody, also without credentials.
    case world
    /// Every authenticated identity; what it may see or do is decided by the endpoint, as the note says.
    case anybody(note: String)
    /// At least one of these privileges on an access path. A refusal is 403 after half a second.
    case privilege(anyOf: [String], on: String)
    /// Like ``privilege(anyOf:on:)``, or the path's `{userid}` is the caller.
    case selfOr(anyOf: [String], on: String)
    /// On the path of the namespace: one of `full`, or one of `partial` and owner of the group. A refusal is 403 at once;
    /// a foreign group with only `partial` is 400. (Spec: rest D.11.)
    case owned(full: [String], partial: [String])
}

extension AccessRule {
    /// Stands for a privilege that only `root@pam` has.
    package static let superuser = "root@pam"

    /// The rule as text for the reference page.
    package var text: String {
        switch self {
        case .world: "World"
        case .anybody(let note): note.isEmpty ? "Anybody" : "Anybody; \(note)"
        case .privilege(let privileges, let path): "\(privileges.joined(separator: " or ")) on `\(path)`"
        case .selfOr(let privileges, let path): "Oneself, or \(privileges.joined(separator: " or ")) on `\(path)`"
        case .owned(let full, let partial):
            full.isEmpty
                ? "\(partial.joined(separator: " or ")) on the namespace, and owner of the group"
                : "\(full.joined(separator: " or ")) on the namespace, or \(partial.joined(separator: " or ")) and owner of the group"
        }
    }
}

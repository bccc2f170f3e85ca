/// Who acts: a user `name@realm`, or a user's API token `name@realm!token`. (Spec: rest D.1.)
package struct AuthID: Hashable, Sendable {
    package let name: String
    package let realm: String
    package let token: String?

    /// The built-in superuser, who can never log in by password.
    package static let root = AuthID(parsing: "root@pam")!

    /// Longest id in bytes: 64 characters may be piles of combining marks.
    package static let maxByteCount = 256

    /// Reads either form. The last `@` separates the realm; 3 to 64 characters in all.
    package init?(parsing text: some StringProtocol) {
        guard text.utf8.count <= Self.maxByteCount, (3...64).contains(text.count), let at = text.lastIndex(of: "@")
        else { return nil }
        let name = text[..<at]
        let rest = text[text.index(after: at)...]
        let parts = rest.split(separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
        guard Self.isUserName(name), SafeID.isValid(parts[0]), (2...32).contains(parts[0].count),
            parts.count == 1 || SafeID.isValid(parts[1])
        else { return nil }
        self.name = String(name)
        realm = String(parts[0])
        token = parts.count == 2 ? String(parts[1]) : nil
    }

    private init(name: String, realm: String, token: String?) {
        self.name = name
        self.realm = realm
        self.token = token
    }

    private static func isUserName(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy {
                !$0.properties.isWhitespace && $0 != ":" && $0 != "/" && $0.value >= 0x20 && $0.value != 0x7f
            }
    }

    package var isToken: Bool { token != nil }
    /// The user: itself, or the one that the token belongs to.
    package var user: AuthID { AuthID(name: name, realm: realm, token: nil) }

    /// The id of this user's token of that name; nil where the name is no safe id.
    package func withToken(_ name: String) -> AuthID? { AuthID(parsing: "\(user)!\(name)") }
}

extension AuthID: CustomStringConvertible {
    package var description: String { token.map { "\(name)@\(realm)!\($0)" } ?? "\(name)@\(realm)" }
}

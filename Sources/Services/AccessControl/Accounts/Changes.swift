package import BackupFormats

/// What happens to a value that may be missing.
package enum Change<Value: Sendable>: Sendable {
    case keep
    case set(Value)
    case clear

    /// From the two ways in which the API says it: a new value, or the name in the list `delete`.
    package init(_ value: Value?, isDeleted: Bool = false) {
        self = isDeleted ? .clear : value.map { .set($0) } ?? .keep
    }

    func apply(to value: inout Value?) {
        switch self {
        case .keep: break
        case .set(let new): value = new
        case .clear: value = nil
        }
    }

    var newValue: Value? { if case .set(let value) = self { value } else { nil } }
}

/// A user to be made.
package struct NewUser: Sendable {
    package var id: AuthID
    package var password: String?
    package var comment: String?
    package var isEnabled: Bool
    package var expire: Int64
    package var firstName: String?
    package var lastName: String?
    package var email: String?

    package init(
        id: AuthID, password: String? = nil, comment: String? = nil, isEnabled: Bool = true, expire: Int64 = 0,
        firstName: String? = nil, lastName: String? = nil, email: String? = nil
    ) {
        self.id = id
        self.password = password
        self.comment = comment
        self.isEnabled = isEnabled
        self.expire = expire
        self.firstName = firstName
        self.lastName = lastName
        self.email = email
    }
}

/// What changes about a user; nil and `keep` leave a value as it is.
package struct UserChange: Sendable {
    package var isEnabled: Bool?
    package var expire: Int64?
    package var comment: Change<String>
    package var firstName: Change<String>
    package var lastName: Change<String>
    package var email: Change<String>

    package init(
        isEnabled: Bool? = nil, expire: Int64? = nil, comment: Change<String> = .keep,
        firstName: Change<String> = .keep,
        lastName: Change<String> = .keep, email: Change<String> = .keep
    ) {
        self.isEnabled = isEnabled
        self.expire = expire
        self.comment = comment
        self.firstName = firstName
        self.lastName = lastName
        self.email = email
    }
}

/// What changes about a token.
package struct TokenChange: Sendable {
    package var isEnabled: Bool?
    package var expire: Int64?
    package var comment: Change<String>

    package init(isEnabled: Bool? = nil, expire: Int64? = nil, comment: Change<String> = .keep) {
        self.isEnabled = isEnabled
        self.expire = expire
        self.comment = comment
    }
}

/// A list and the digest that a later change may name.
package struct Listing<Item: Sendable>: Sendable {
    package let items: [Item]
    package let digest: String
}

package import BackupFormats
import Platform
package import StateDatabase
import Synchronization

/// The use cases behind `/access/users/{userid}/token`; each checks its caller. (Spec: rest E.3.)
extension AccessControl {
    package func tokens(of user: AuthID, for caller: Identity) throws -> Listing<TokenRecord> {
        let state = current
        try requireReading(of: user, by: caller, state)
        return Listing(items: state.tokens.filter { $0.id.user == user }, digest: state.usersDigest)
    }

    package func token(_ id: AuthID, for caller: Identity) throws -> Listing<TokenRecord> {
        let state = current
        try requireReading(of: id.user, by: caller, state)
        return Listing(items: [try Self.existingToken(id, state)], digest: state.usersDigest)
    }

    /// - Returns: The secret; it is stored nowhere and cannot be read again.
    package func addToken(
        _ id: AuthID, comment: String? = nil, isEnabled: Bool = true, expire: Int64 = 0, digest: String? = nil,
        by caller: Identity
    ) throws -> String {
        try require(.permissionsModify, for: caller, orSelf: id.user, current)
        try AccountRules.checkComment(comment)
        try AccountRules.checkExpire(expire)
        let secret = try Self.makeSecret()
        try change { writer, state in
            try writer.requireDigest(digest, of: .users)
            _ = try Self.existing(id.user, state)
            guard id.isToken, state.token(id) == nil else {
                throw BackupFailure(.invalidInput, "token '\(id)' already exists.")
            }
            try writer.put(
                TokenRecord(
                    id: id, comment: comment, isEnabled: isEnabled, expire: expire,
                    secretHash: TokenSecret.stored(secret)))
        }
        return secret
    }

    /// - Returns: The new secret where the token was to get one.
    @discardableResult
    package func changeToken(
        _ id: AuthID, _ changes: TokenChange, isRegenerated: Bool = false, digest: String? = nil, by caller: Identity
    ) throws -> String? {
        try require(.permissionsModify, for: caller, orSelf: id.user, current)
        try AccountRules.checkComment(changes.comment.newValue)
        try AccountRules.checkExpire(changes.expire)
        let secret = isRegenerated ? try Self.makeSecret() : nil
        try change { writer, state in
            try writer.requireDigest(digest, of: .users)
            var token = try Self.existingToken(id, state)
            changes.comment.apply(to: &token.comment)
            if let isEnabled = changes.isEnabled { token.isEnabled = isEnabled }
            if let expire = changes.expire { token.expire = expire }
            if let secret { token.secretHash = TokenSecret.stored(secret) }
            try writer.put(token)
        }
        return secret
    }

    /// Removes the token and all its roles.
    package func removeToken(_ id: AuthID, digest: String? = nil, by caller: Identity) throws {
        try require(.permissionsModify, for: caller, orSelf: id.user, current)
        try change { writer, state in
            try writer.requireDigest(digest, of: .users)
            _ = try Self.existingToken(id, state)
            try writer.remove(id)
            try writer.removeACL(of: id)
        }
        verifiedSecrets.withLock { $0[id] = nil }
    }

    private static func existingToken(_ id: AuthID, _ state: AccessState) throws -> TokenRecord {
        guard id.isToken, let token = state.token(id) else {
            throw BackupFailure(.noSuchObject, "no such token '\(id)'")
        }
        return token
    }

    /// A random UUID in its usual text form.
    private static func makeSecret() throws -> String {
        let digits = Hex.encode(try SystemRandom.uuid())
        var parts: [Substring] = []
        var rest = Substring(digits)
        for count in [8, 4, 4, 4, 12] {
            parts.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return parts.joined(separator: "-")
    }
}

import AccessControl
import BackupFormats
import BackupProtocol
import ManagementAPI

/// Applies the access rules of endpoints.
enum AccessCheck {
    /// The grant of a rule that needs only the path of the request; nil where the rule has none.
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthorized`.
    static func grant(
        _ rule: AccessRule, _ pathValues: [(name: String, value: String)], _ caller: Identity?, _ access: AccessControl
    ) throws -> Grant? {
        switch rule {
        case .world, .anybody, .owned: return nil
        case .selfOr(_, _) where isSelf(pathValues, caller): return nil
        case .privilege(let names, let template), .selfOr(let names, let template):
            guard let caller else { throw refusal }
            if names == [AccessRule.superuser] {
                guard caller.isSuperuser else { throw refusal }
                return try access.grant(.all, on: .root, to: caller)
            }
            guard let path = path(template, pathValues) else { throw refusal }
            do {
                return try access.grant(anyOf: privileges(names), on: path, to: caller)
            } catch is BackupFailure {
                throw refusal
            }
        }
    }

    /// The grant of a rule that needs the namespace; nil for other rules.
    static func contentGrant(
        _ rule: AccessRule, _ values: ParameterValues, _ caller: Identity?, _ access: AccessControl
    ) throws -> ContentGrant? {
        guard case .owned(let full, let partial) = rule, let caller else { return nil }
        return try access.contentGrant(
            full: privileges(full), partial: privileges(partial), store: try values.string("store"),
            namespace: try values.namespace(), to: caller)
    }

    /// Names no privilege and no path: whoever is refused here learns nothing.
    private static var refusal: BackupFailure { BackupFailure(.notAuthorized, "permission check failed") }

    private static func isSelf(_ pathValues: [(name: String, value: String)], _ caller: Identity?) -> Bool {
        guard let user = pathValues.first(where: { $0.name == "userid" })?.value, let caller else { return false }
        return caller.authID == AuthID(parsing: user)
    }

    private static func path(_ template: String, _ pathValues: [(name: String, value: String)]) -> AccessPath? {
        var parts: [String] = []
        for part in template.split(separator: "/") {
            guard part.hasPrefix("{") else {
                parts.append(String(part))
                continue
            }
            guard let value = pathValues.first(where: { "{\($0.name)}" == part })?.value, SafeID.isValid(value) else {
                return nil
            }
            parts.append(value)
        }
        return AccessPath(parts)
    }

    private static func privileges(_ names: [String]) -> Privileges {
        names.reduce(into: []) { $0.formUnion(Privileges(name: $1) ?? []) }
    }
}

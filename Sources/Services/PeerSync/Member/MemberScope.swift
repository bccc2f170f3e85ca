package import PeerSyncProtocol

/// What a hub may see of this instance.
///
/// An operation is seen where its repo or its plan is granted, and neither is excluded: stricter than the original, where
/// a granted repo outweighs an excluded plan. Maintenance tells of all namespaces of a datastore, so that a grant which
/// excludes a plan of that datastore covers it only by name. (Spec: backrest-sync §5.4, §5.7, §9.1.)
package struct MemberScope: Sendable, Equatable {
    /// The plan of operations that belong to a whole datastore.
    package static let maintenancePlan = "_system_"

    private let permissions: PeerPermissions
    private let scopes: Set<String>
    private let excludedPlans: [String]

    package init(_ grants: [PeerGrant]) throws(PeerSyncFailure) {
        permissions = try PeerPermissions(grants.map(\.message))
        // The last entry of a kind is the one that counts.
        scopes = Set(grants.last { $0.kind == .readOperations }?.scopes ?? [])
        excludedPlans = scopes.compactMap { $0.hasPrefix("!plan:") ? String($0.dropFirst(6)) : nil }
    }

    package func mayReadOperations(repo: String, plan: String) -> Bool {
        guard !scopes.contains("!repo:\(repo)"), !scopes.contains("!plan:\(plan)") else { return false }
        if plan == Self.maintenancePlan, excludedPlans.contains(where: { $0 == repo || $0.hasPrefix("\(repo)_") }) {
            return scopes.contains("plan:\(plan)")
        }
        return permissions.mayReadOperations(.repo(repo)) || permissions.mayReadOperations(.plan(plan))
    }

    package func mayViewResource(_ subject: PeerPermissions.Subject) -> Bool { permissions.mayViewResources(subject) }
    package func mayViewConfig(_ subject: PeerPermissions.Subject) -> Bool { permissions.mayViewConfig(subject) }
}

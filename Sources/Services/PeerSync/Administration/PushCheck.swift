import BackupFormats
import PeerSyncProtocol
import SwiftProtobuf

extension ConfigPush {
    private static let maxEntries = 1000
    private static let maxBytes = 4 << 20
    private static let guidLength = 64

    /// Refuses what the member cannot take, before it is sent: a real one ends the session over it, and takes nothing of
    /// the rest. (Spec: backrest-sync §5.3, §5.6.)
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    func check(against state: WirePeerState) throws {
        let member = state.peerInstanceID
        let view = state.remoteConfig
        func refuse(_ what: String) -> BackupFailure { BackupFailure(.invalidInput, what) }
        func hidden(_ what: String) -> BackupFailure {
            BackupFailure(
                .invalidInput, "'\(member)' does not let this hub change \(what)",
                hints: ["The member has to grant read-write-config for it, there."])
        }
        let count = repos.count + plans.count + reposToDelete.count + plansToDelete.count
        guard count > 0 else { throw refuse("there is nothing to send") }
        let bytes =
            try repos.map { try $0.serializedBytes() as [UInt8] }.joined().count
            + plans.map { try $0.serializedBytes() as [UInt8] }.joined().count
        guard count <= Self.maxEntries, bytes <= Self.maxBytes else {
            throw refuse("at most \(Self.maxEntries) repos and plans of \(Self.maxBytes >> 20) MiB are sent at once")
        }
        for plan in plans {
            guard !plan.id.isEmpty, !plan.repo.isEmpty else { throw refuse("a plan needs an id and a repo") }
            let isSeen = view.plans.contains { $0.id == plan.id }
            guard isSeen || !state.knownPlans.contains(where: { $0.id == plan.id }) else {
                throw hidden("the plan '\(plan.id)'")
            }
        }
        for repo in repos {
            guard !repo.id.isEmpty, !repo.uri.isEmpty else { throw refuse("a repo needs an id and a uri") }
            guard repo.autoInitialize ? repo.guid.isEmpty : repo.guid.utf8.count == Self.guidLength else {
                throw refuse("the repo '\(repo.id)' needs a guid of \(Self.guidLength) characters, or autoInitialize")
            }
            if view.repos.contains(where: { $0.guid == repo.guid }) { continue }
            // Not found by its guid, the member skips it silently where its name or place is taken.
            guard !view.repos.contains(where: { $0.id == repo.id || $0.uri == repo.uri }) else {
                throw refuse("'\(member)' has another repo with the id or the uri of '\(repo.id)'; its guid differs")
            }
            guard !state.knownRepos.contains(where: { $0.id == repo.id || $0.guid == repo.guid }) else {
                throw hidden("the repo '\(repo.id)'")
            }
        }
        for id in plansToDelete where !view.plans.contains(where: { $0.id == id }) { throw hidden("the plan '\(id)'") }
        for id in reposToDelete where !view.repos.contains(where: { $0.id == id }) { throw hidden("the repo '\(id)'") }
    }
}

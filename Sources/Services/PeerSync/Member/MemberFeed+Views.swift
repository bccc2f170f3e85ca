import BackupFormats
import BackupServer
import PeerSyncProtocol

// What hubs are told of the set-up. (Spec: backrest-sync §5.5, §9.1.)
extension MemberFeed {
    func resources(for scope: MemberScope) -> (repos: [WireRepoMetadata], plans: [WirePlanMetadata]) {
        var plans: [WirePlanMetadata] = []
        for store in view {
            for namespace in store.namespaces {
                var plan = WirePlanMetadata()
                plan.id = StoreView.plan(store.name, namespace)
                if scope.mayViewResource(.plan(plan.id)) { plans.append(plan) }
            }
        }
        return (view.filter { scope.mayViewResource(.repo($0.name)) }.map(\.repo), plans)
    }

    /// What is set up, as far as the hub may see it: nothing that opens or runs anything.
    func configView(for scope: MemberScope) -> WireRemoteConfig {
        var config = WireRemoteConfig()
        config.version = Self.configVersion
        config.modno = 1
        return config
    }

    /// Of the format of the settings.
    private static let configVersion: Int32 = 6
}

import BackupFormats
import XenAPI

/// Finds the network for a restored interface: that of the same uuid, else one of the same VLAN and name, else any of
/// that VLAN, else the pool's default. (Spec: xo-proxy §6.7.)
struct NetworkChoice: Sendable {
    struct Network: Sendable, Equatable {
        let reference: String
        let uuid: String
        let name: String
        /// -1 where it is none.
        let vlan: Int64
        /// Networks inside a single host reach nothing.
        let hasInterface: Bool
        let isManagement: Bool
    }

    let networks: [Network]

    static func load(_ host: any XenHost) async throws -> NetworkChoice {
        let interfaces = try await host.records("PIF")
        return NetworkChoice(
            networks: try await host.records("network").map { network in
                let own = interfaces.filter { $0.fields["network"]?.stringValue == network.reference }
                return Network(
                    reference: network.reference, uuid: network.uuid,
                    name: network.fields["name_label"]?.stringValue ?? "",
                    vlan: own.lazy.compactMap { $0.fields["VLAN"]?.intValue }.first ?? -1, hasInterface: !own.isEmpty,
                    isManagement: own.contains { $0.fields["management"]?.boolValue == true })
            })
    }

    /// The reference of a network; nil where the pool has none at all.
    func network(for interface: JSONObject) -> String? {
        if let uuid = interface["$network$uuid"]?.stringValue,
            let same = networks.first(where: { $0.uuid == uuid })
        {
            return same.reference
        }
        if let vlan = interface["$network$VLAN"]?.intValue {
            // Without a VLAN, all networks that have none would do; only those that lead out of the host are meant.
            let candidates = networks.filter { $0.vlan == vlan && $0.hasInterface }
            let name = interface["$network$name_label"]?.stringValue
            if let same = candidates.first(where: { $0.name == name }) { return same.reference }
            if vlan != -1, let any = candidates.first { return any.reference }
        }
        let other = networks.first { $0.isManagement } ?? networks.first { $0.hasInterface } ?? networks.first
        return other?.reference
    }
}

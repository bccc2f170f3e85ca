import BackupFormats

/// What a connection has to know about the pool beyond its master: the other members, and where transfers go.
struct PoolNetwork: Sendable {
    /// Addresses of all hosts.
    var members: [String] = []
    /// By the address of a host, its address on the pool's network for backups.
    var backupAddresses: [String: String] = [:]
    private var masterBackupAddress: String?

    /// Asks the pool. A pool whose network for backups is not there any more does without.
    static func learn(from host: any XenHost) async throws -> PoolNetwork {
        var result = PoolNetwork()
        guard let pool = try await host.records("pool").first?.fields else {
            throw BackupFailure(.corruptData, "The host belongs to no pool")
        }
        let hosts = try await host.records("host")
        result.members = hosts.compactMap { $0.fields["address"]?.stringValue }.filter { !$0.isEmpty }
        guard let uuid = pool["other_config"]?["xo:backupNetwork"]?.stringValue else { return result }
        do {
            let network = try await host.reference("network", uuid: uuid)
            for interface in try await host.records("PIF") where interface.fields["network"]?.stringValue == network {
                guard let ip = interface.fields["IP"]?.stringValue, !ip.isEmpty,
                    let owner = hosts.first(where: { $0.reference == interface.fields["host"]?.stringValue }),
                    let address = owner.fields["address"]?.stringValue
                else { continue }
                result.backupAddresses[address] = ip
                if owner.reference == pool["master"]?.stringValue { result.masterBackupAddress = ip }
            }
        } catch let failure as XenFailure where failure.code == "UUID_INVALID" {
            return result
        }
        return result
    }

    /// By the host in a URL, the address to connect to. The master may be known by a name.
    func overrides(master: String) -> [String: String] {
        var result: [String: String] = [:]
        for (address, other) in backupAddresses {
            // Addresses may carry a port, which is the URL's business.
            if let key = XenAddress(address)?.host, let value = XenAddress(other)?.host { result[key] = value }
        }
        if let masterBackupAddress, let value = XenAddress(masterBackupAddress)?.host { result[master] = value }
        return result
    }
}

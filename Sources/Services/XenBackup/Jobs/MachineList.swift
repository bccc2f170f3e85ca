import BackupFormats
import XenAPI

/// Which machines a job is about. (Spec: xo-proxy §5.2, §5.3.)
struct MachineList {
    let context: JobContext

    /// Their uuids: those that the pattern names, else those that match it among all machines of the job's pools.
    ///
    /// - Throws: ``BackupFailure`` with the summary `no VMs match this pattern`.
    func uuids() async throws -> [String] {
        do {
            return try SimpleIDPattern.ids(of: context.job["vms"])
        } catch {
            let pattern = Pattern(context.job["vms"] ?? .null)
            var found: [String] = []
            for id in context.hosts.ids {
                let host = try await context.hosts.host(id: id)
                let pool = try await host.records("pool").first?.uuid ?? ""
                let machines = try await host.records("VM").filter { isCandidate($0.fields) }
                for machine in machines where pattern.matches(Self.view(machine, pool: pool)) {
                    await context.hosts.learn(machine.uuid, livesOn: id)
                    found.append(machine.uuid)
                }
            }
            guard !found.isEmpty else { throw BackupFailure(.notFound, "no VMs match this pattern") }
            return found
        }
    }

    /// Machines that somebody uses: no templates, snapshots or control domains, none made by this job, none that says
    /// that it wants no backup.
    private func isCandidate(_ vm: JSONObject) -> Bool {
        let tags = (vm["tags"]?.arrayValue ?? []).compactMap(\.stringValue)
        return !["is_a_template", "is_a_snapshot", "is_control_domain"].contains { vm[$0]?.boolValue == true }
            && !OwnReplica.isMade(by: context.jobID, vm)
            && !tags.contains { $0 == "xo:no-bak" || $0.hasPrefix("xo:no-bak=") }
    }

    private static func view(_ machine: XenRecord, pool: String) -> JSONValue {
        var view: JSONObject = ["type": "VM", "id": .string(machine.uuid), "uuid": .string(machine.uuid)]
        for name in ["name_label", "name_description", "power_state", "tags"] { view[name] = machine.fields[name] }
        view["$pool"] = .string(pool)
        return .object(view)
    }
}

/// Machines that a job made itself, as copies.
enum OwnReplica {
    static func isMade(by jobID: String, _ vm: JSONObject) -> Bool {
        vm["other_config"]?[BackupMarkKey.job]?.stringValue == jobID && vm["blocked_operations"]?["start"] != nil
    }
}

import BackupFormats
import Synchronization
import Tasks
import XenAPI

/// Keeps a machine where it is while it is backed up. (Spec: xo-proxy §5.6 step 3.)
final class MigrationGuard: Sendable {
    /// Operations that are blocked; and signs, in `current_operations`, that the machine moves right now.
    static let operations = ["pool_migrate", "migrate_send"]
    /// What stands as reason; by it a block that an interrupted run left behind is known.
    static let reason = "A backup of this machine is running (Cairn)"

    private let host: any XenHost
    private let vm: XenRecord
    /// Operations that are ours to unblock.
    private let blocked = Mutex<[String]>([])

    init(host: any XenHost, vm: XenRecord) {
        self.host = host
        self.vm = vm
    }

    /// Whether a block is one of ours.
    static func isOurs(_ reason: JSONValue?) -> Bool { reason?.stringValue == Self.reason }

    /// The blocks of a record as they are without ours.
    static func withoutOurs(_ record: JSONObject) -> JSONObject {
        guard let blocks = record["blocked_operations"]?.objectValue else { return record }
        var record = record
        record["blocked_operations"] = .object(JSONObject(blocks.members.filter { !isOurs($0.value) }))
        return record
    }

    /// Blocks what somebody else has not blocked already.
    func block() async throws {
        for operation in Self.operations {
            let present = vm.fields["blocked_operations"]?[operation]
            guard present == nil || Self.isOurs(present) else { continue }
            blocked.withLock { $0.append(operation) }
            guard present == nil else { continue }
            _ = try await host.call(
                "VM.add_to_blocked_operations", [.string(vm.reference), .string(operation), .string(Self.reason)])
        }
        await recompute()
    }

    /// Takes our blocks away; once, later calls do nothing.
    func restore(_ task: TaskNode) async {
        let operations = blocked.withLock { blocked in
            defer { blocked = [] }
            return blocked
        }
        guard !operations.isEmpty else { return }
        for operation in operations {
            do {
                _ = try await host.call(
                    "VM.remove_from_blocked_operations", [.string(vm.reference), .string(operation)])
            } catch {
                task.warning("\(operation) could not be unblocked", TaskFailure.json(error))
            }
        }
        await recompute()
    }

    /// The host recomputes lazily; a failure changes nothing.
    private func recompute() async {
        _ = try? await host.call("VM.update_allowed_operations", [.string(vm.reference)])
    }
}

/// Shuts a machine down and has it run again. (Spec: xo-proxy §5.6 steps 7, 9, 12.)
final class MachinePower: Sendable {
    private let host: any XenHost
    private let vm: XenRecord
    private let wasShutDown = Flag()

    init(host: any XenHost, vm: XenRecord) {
        self.host = host
        self.vm = vm
    }

    /// Whether it ran, or was paused, before the backup.
    var wasRunning: Bool { ["Running", "Paused"].contains(vm.fields["power_state"]?.stringValue) }

    func shutDown() async throws {
        guard vm.fields["power_state"]?.stringValue == "Running" else { return }
        // Before the call: a cancelled shutdown may still happen.
        wasShutDown.raise()
        _ = try await host.run("VM.clean_shutdown", [.string(vm.reference)])
    }

    /// Starts the machine where ``shutDown()`` has stopped it.
    func restore(_ task: TaskNode) async {
        guard wasShutDown.isRaised else { return }
        do {
            let state = try await host.field("VM", vm.reference, "power_state").stringValue
            guard state == "Halted" else { return }
            _ = try await host.run("VM.start", [.string(vm.reference), false, false])
        } catch {
            task.warning("the VM could not be started again", TaskFailure.json(error))
        }
    }
}

extension XenRecord {
    func hasTag(_ tag: String) -> Bool { fields["tags"]?.arrayValue?.contains(.string(tag)) ?? false }
}

import BackupFormats
import Synchronization
import Tasks
import XenBackup

/// A service for machines that does what the job's name says and writes down how it was called.
///
/// Names: `quick` backs up one machine, `fail` fails as a whole, `part` has a machine that fails, `hold` waits for
/// ``release()``, `refuse` is not admitted.
final class FakeXen: XenService {
    private struct State {
        var calls: [String] = []
        var running: Set<String> = []
        var isReleased = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    var calls: [String] { state.withLock { $0.calls } }
    private func note(_ call: String) { state.withLock { $0.calls.append(call) } }

    func release() {
        let waiters = state.withLock { state in
            state.isReleased = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private func hold() async {
        await withCheckedContinuation { continuation in
            let isReleased = state.withLock { state in
                if !state.isReleased { state.waiters.append(continuation) }
                return state.isReleased
            }
            if isReleased { continuation.resume() }
        }
    }

    func admit(_ parameters: JSONObject) throws {
        let job = parameters["job"]
        guard job?["type"] == "backup" else {
            throw BackupFailure(.invalidInput, "No runner for the backup type \(job?["type"]?.stringValue ?? "none")")
        }
        let isFirst = state.withLock { $0.running.insert(job?["id"]?.stringValue ?? "").inserted }
        guard isFirst else { throw BackupFailure(.conflict, "job is already running") }
    }

    func withdraw(_ parameters: JSONObject) {
        _ = state.withLock { $0.running.remove(parameters["job"]?["id"]?.stringValue ?? "") }
    }

    func run(_ parameters: JSONObject, root: TaskNode) async throws {
        let job = parameters["job"]
        defer { state.withLock { _ = $0.running.remove(job?["id"]?.stringValue ?? "") } }
        note("run \(job?["name"]?.stringValue ?? "")")
        root.info("vms", ["vms": ["v1"]])
        switch job?["name"] {
        case "hold": await hold()
        case "fail": throw BackupFailure(.unavailable, "the job failed")
        case "part":
            _ = try? await root.run("backup VM", ["type": "VM", "id": "v1"]) { _ in
                throw BackupFailure(.storageFull, "no space left")
            }
        default:
            _ = try await root.run("backup VM", ["type": "VM", "id": "v1"]) { vm in
                try await vm.run("export", ["type": "remote", "id": "r1", "isFull": true]) { export in
                    try await export.run("transfer", result: { ["size": .integer($0)] }) { transfer in
                        transfer.progress(0.4)
                        return 1024
                    }
                }
            }
        }
    }

    func runningJobs() -> [String] { state.withLock { $0.running }.sorted() }

    func admitImport(_ parameters: JSONObject) async throws -> JSONObject {
        guard parameters["backupId"] != "/missing" else {
            throw BackupFailure(.notFound, "/missing is not there")
        }
        return ["backupId": parameters["backupId"] ?? .null, "srId": parameters["srUuid"] ?? .null]
    }

    func importVMBackup(_ parameters: JSONObject, root: TaskNode) async throws -> JSONObject {
        try await root.run("transfer", result: { .object($0) }) { _ in ["id": "new-vm", "size": 77] }
    }

    func admitMetadataRestore(_ parameters: JSONObject) async throws -> JSONObject {
        ["metadata": ["jobName": "nightly"]]
    }

    func restoreMetadata(_ parameters: JSONObject, root: TaskNode) async throws -> JSONValue { "{\"xo\":1}" }

    func listVMBackups(remotes: JSONObject, vm: String?) async throws -> JSONObject {
        note("list \(vm ?? "all")")
        return JSONObject(remotes.members.map { .init(name: $0.name, value: [:]) })
    }

    func listMetadataBackups(_ kind: String, remotes: JSONObject) async throws -> JSONObject { ["kind": .string(kind)] }

    func deleteVMBackups(_ ids: [String], remote: JSONObject, root: TaskNode) async throws {
        note("delete \(ids.joined(separator: ","))")
        if ids == ["/locked"] { throw BackupFailure(.conflict, "Lock file is already being held") }
        if ids == ["/slow"] { await hold() }
    }

    func deleteMetadataBackup(_ id: String, remote: JSONObject) async throws { note("delete metadata \(id)") }

    func testRemote(_ remote: JSONObject) async -> JSONObject { ["success": true, "url": remote["url"] ?? .null] }
    func pingRemote(_ remote: JSONObject) async throws { note("ping") }
    func remoteInfo(_ remote: JSONObject) async throws -> JSONObject { [:] }
    func totalBackupSize(_ remote: JSONObject) async throws -> JSONObject { ["onDisk": 5] }
}

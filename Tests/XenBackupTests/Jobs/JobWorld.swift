import BackupFormats
import CairnTestSupport
import Logging
import Synchronization
import Tasks
import Testing
import XenAPI

@testable import XenBackup

/// A pool, remotes, and the service between them, all in memory.
final class XenWorld: RepositoryOpening, XenHostConnecting {
    let host = FakeHost()
    let remotes: [FakeRepository]
    let clock = ManualClock()
    let trees = Mutex<[TestTree]>([])
    private let backups = Mutex<XenBackups?>(nil)

    init(remotes: [FakeRepository] = [FakeRepository("r1"), FakeRepository("r2")]) {
        self.remotes = remotes
    }

    var service: XenBackups {
        backups.withLock { backups in
            if let backups { return backups }
            let made = XenBackups(
                repositories: self, hosts: self, configuration: .init(), clock: clock.source,
                logger: Logger(label: "test"), openDisk: FakeDisk.open)
            backups = made
            return made
        }
    }

    func open(_ remote: JSONObject) async throws -> any XenRepository {
        let id = remote["id"]?.stringValue ?? ""
        guard let found = remotes.first(where: { $0.remoteID == id }) else {
            throw BackupFailure(.unavailable, "the remote \(id) cannot be reached")
        }
        try await found.step("open")
        found.state.withLock { $0.opens += 1 }
        return found
    }

    func connect(_ xapi: JSONObject) async throws -> any XenHost { host }

    func parameters(
        _ vms: [String], mode: String = "delta", settings: JSONObject = [:], job: JSONObject = [:],
        schedule: String = "s1", remotes: [String]? = nil
    ) -> JSONObject {
        let ids = remotes ?? self.remotes.map(\.remoteID)
        var body: JSONObject = [
            "id": "job-1", "type": "backup", "name": "nightly", "mode": .string(mode),
            "vms": ["id": ["__or": .array(vms.map { .string($0) })]],
            "remotes": ["id": ["__or": .array(ids.map { .string($0) })]],
            "settings": ["": .object(settings)],
        ]
        for member in job.members { body[member.name] = member.value }
        return [
            "job": .object(body), "schedule": ["id": .string(schedule), "name": "daily"],
            "remotes": .object(JSONObject(ids.map { .init(name: $0, value: ["url": .string("file:///\($0)")]) })),
            "xapis": ["x1": ["url": "https://host"]],
            "recordToXapi": .object(JSONObject((vms + ["pool-1"]).map { .init(name: $0, value: "x1") })),
        ]
    }

    /// Runs a job to its end.
    @discardableResult
    func run(
        _ parameters: JSONObject, cancelledBy cancel: (@Sendable (TaskNode) -> Void)? = nil
    ) async throws -> TestTree {
        let (tree, error) = await attempt(parameters, cancelledBy: cancel)
        if let error { throw error }
        return tree
    }

    func attempt(
        _ parameters: JSONObject, cancelledBy cancel: (@Sendable (TaskNode) -> Void)? = nil
    ) async -> (TestTree, (any Error)?) {
        let tree = TestTree()
        let root = tree.root()
        cancel?(root)
        var failure: (any Error)?
        do {
            let service = service
            try service.admit(parameters)
            try await root.cancellable { try await service.run(parameters, root: root) }
        } catch {
            failure = error
        }
        root.end(isSuccess: failure == nil)
        clock.advance(seconds: 60)
        #expect(tree.broken.isEmpty)
        for remote in remotes { #expect(remote.isAtRest, "\(remote.name) has something open") }
        #expect(host.state.withLock { $0.openTransfers } == 0)
        #expect(service.runningJobs().isEmpty)
        return (tree, failure)
    }

    /// Whether the newest backup on each of the remotes holds what the disks held at its snapshot.
    func expectNewest(_ vm: String, holds disks: [FakeHost.Content], on remotes: [FakeRepository]? = nil) {
        for remote in remotes ?? self.remotes {
            let newest = remote.backups(vm).last
            let held =
                newest?.metadata.vdis.members.compactMap { newest?.disks[$0.value["uuid"]?.stringValue ?? ""] } ?? []
            #expect(held == disks, "\(remote.name)")
        }
    }
}

import BackupFormats
import BackupServer
import CairnTestSupport
import Datastore
import PeerSync
import PeerSyncProtocol
import StateDatabase
import Tasks
import Testing

@Suite("What a member tells of its tasks and snapshots")
struct MemberFeedTests {
    static let owner = AuthID(parsing: "tester@pbs")!

    /// All operations that are listed, by their kind.
    func listed(_ world: MemberWorld) throws -> [WireOperation] {
        let ids = try world.feed.operations.listed { _, _, _ in true }.ids
        return try world.feed.operations.operations(ids) { _, _, _ in true }
    }

    /// A backup as the server's sessions make it: the task, the snapshot, the lines of the log.
    func back(_ world: MemberWorld, _ name: String, _ namespace: Namespace = .root, failing: Bool = false) async throws
        -> UPID
    {
        let store = try world.stores.datastore("store", for: .write)
        for depth in 0..<namespace.depth {
            _ = try store.createNamespace(Namespace(components: Array(namespace.components.prefix(depth + 1))))
        }
        let snapshot = SnapshotName(parsing: name)!
        let task = world.tasks.start("backup", id: "store:\(snapshot.group)", owner: Self.owner)
        let place = namespace.isRoot ? "" : " in namespace '\(namespace)'"
        task.log("starting backup of \(snapshot) into datastore 'store'\(place)")
        if failing {
            task.warn("a file was left out")
            task.finish(.error("connection error: reset"))
        } else {
            var backup = SampleBackup(name)
            backup.namespace = namespace
            try backup.run(in: store)
            task.finish()
        }
        await task.waitUntilStopped()
        return task.upid
    }

    @Test("is a backup and its snapshot in one flow, with the figures of the manifest")
    func backup() async throws {
        let world = try MemberWorld(store: true)
        await world.feed.round(isComplete: true)
        let upid = try await back(world, "vm/100/2024-05-30T00:00:00Z")
        await world.feed.round(isComplete: true)
        let operations = try listed(world)
        #expect(operations.count == 2)
        let backup = try #require(operations.first { $0.operationBackup.hasLastStatus })
        let index = try #require(operations.first { $0.operationIndexSnapshot.hasSnapshot })
        #expect(backup.flowID == index.flowID && backup.flowID == min(backup.id, index.id) && backup.flowID != 0)
        #expect(backup.status == .statusSuccess && backup.displayMessage.isEmpty && backup.logref == "\(upid)")
        #expect(backup.repoID == "store" && backup.planID == "store" && backup.instanceID == "box")
        #expect(backup.repoGuid.count == 64 && backup.repoGuid == world.feed.view.first?.guid)
        #expect(backup.snapshotID.count == 64 && backup.snapshotID == index.snapshotID)
        let summary = backup.operationBackup.lastStatus.summary
        #expect(summary.totalFilesProcessed == 3 && summary.totalBytesProcessed > 4000)
        #expect(summary.snapshotID == index.snapshotID)
        let snapshot = index.operationIndexSnapshot.snapshot
        #expect(snapshot.hostname == "100" && snapshot.username == "tester@pbs")
        #expect(snapshot.paths == ["disk.img.fidx", "root.pxar.didx", "vm.conf.blob"])
        #expect(snapshot.tags == ["plan:store", "created-by:box", "type:vm"])
    }

    @Test("names the namespace as the plan, and the end of the log where a task fails")
    func failure() async throws {
        let world = try MemberWorld(store: true)
        await world.feed.round(isComplete: true)
        _ = try await back(world, "host/a/2024-05-30T00:00:00Z", Namespace(parsing: "east/one"), failing: true)
        await world.feed.round(isComplete: true)
        let operation = try #require(try listed(world).first)
        #expect(operation.planID == "store_east_one" && operation.status == .statusError)
        #expect(operation.displayMessage.hasPrefix("connection error: reset\n\n"))
        #expect(operation.displayMessage.contains("TASK ERROR"))
        #expect(operation.operationBackup.errors.map(\.message) == ["a file was left out"])
        #expect(operation.snapshotID.isEmpty && !operation.operationBackup.hasLastStatus)
    }

    @Test("changes its counter with its content, and with nothing else")
    func counters() async throws {
        let world = try MemberWorld(store: true)
        await world.feed.round(isComplete: true)
        let task = world.tasks.start("verificationjob", id: "store:weekly", owner: Self.owner)
        await world.feed.round()
        let first = try #require(try listed(world).first)
        #expect(first.status == .statusInprogress && first.unixTimeEndMs == 0)
        await world.feed.round(isComplete: true)
        #expect(try listed(world).first?.modno == first.modno)
        task.warn("odd")
        task.finish()
        await task.waitUntilStopped()
        await world.feed.round(isComplete: true)
        let last = try #require(try listed(world).first)
        #expect(last.id == first.id && last.modno > first.modno && last.status == .statusWarning)
        await world.feed.round(isComplete: true)
        #expect(try listed(world).first?.modno == last.modno)
    }

    @Test("keeps its ids over a restart, and ends what the old server left running")
    func restart() async throws {
        var world = try MemberWorld(store: true)
        await world.feed.round(isComplete: true)
        _ = try await back(world, "host/a/2024-05-30T00:00:00Z")
        // Lives on in the database, as after a crash.
        let running = world.tasks.start("sync", id: "far:there:store::s-1", owner: Self.owner)
        await world.feed.round(isComplete: true)
        let before = try listed(world)
        #expect(before.count == 3)
        let text = "\(running.upid)"
        let folder = world.folder
        await world.tasks.shutDown(patience: .zero)
        try world.stores.datastore("store", for: .read).close()
        world.database.close()
        world = try MemberWorld(folder: folder, store: true)
        await world.feed.round(isComplete: true)
        let after = try listed(world)
        #expect(after.map(\.id) == before.map(\.id) && after.map(\.flowID) == before.map(\.flowID))
        let ended = try #require(after.first { $0.logref == text })
        #expect(ended.status != .statusInprogress && ended.unixTimeEndMs > 0)
        #expect(ended.repoID == "store" && ended.operationRunCommand.command == "sync far:there:store::s-1")
        _ = try await back(world, "host/a/2024-05-31T00:00:00Z")
        await world.feed.round(isComplete: true)
        #expect(try listed(world).suffix(2).allSatisfy { $0.id > before.last!.id })
    }

    @Test("says of a snapshot that it is gone, and takes one that comes back for another")
    func forgotten() async throws {
        let world = try MemberWorld(store: true)
        let store = try world.stores.datastore("store", for: .write)
        let name = SnapshotName(parsing: "host/a/2024-05-30T00:00:00Z")!
        try SampleBackup("\(name)").run(in: store)
        try SampleBackup("host/b/2024-05-31T00:00:00Z").run(in: store)
        await world.feed.round(isComplete: true)
        let ids = try listed(world).map(\.id)
        #expect(ids.count == 2)
        let index = try #require(try listed(world).first { $0.operationIndexSnapshot.snapshot.hostname == "a" })
        let other = ids.first { $0 != index.id }
        try store.removeSnapshot(name, in: .root)
        await world.feed.round(isComplete: true)
        let gone = try #require(try world.feed.operations.operations([index.id]) { _, _, _ in true }.first)
        #expect(gone.operationIndexSnapshot.forgot && gone.operationIndexSnapshot.snapshot.hostname == "a")
        // A hub lets go of it, so the next manifest does not list it.
        #expect(try listed(world).map(\.id) == [other])
        try SampleBackup("\(name)").run(in: store)
        await world.feed.round(isComplete: true)
        let again = try listed(world)
        #expect(again.count == 2 && again[1].id > ids.max()! && again[1].flowID == again[1].id)
    }

    @Test("tells of protection and of what a verification found")
    func tags() async throws {
        let world = try MemberWorld(store: true)
        let store = try world.stores.datastore("store", for: .write)
        let name = SnapshotName(parsing: "host/a/2024-05-30T00:00:00Z")!
        try SampleBackup("\(name)").run(in: store)
        await world.feed.round(isComplete: true)
        try store.setProtected(true, name, in: .root)
        try store.updateManifest(of: name, in: .root) { $0.verifyState = .init(outcome: .ok, task: SampleBackup.task) }
        let task = world.tasks.start("verify", id: "store", owner: Self.owner)
        task.finish()
        await task.waitUntilStopped()
        await world.feed.round(isComplete: true)
        let index = try #require(try listed(world).first { $0.operationIndexSnapshot.hasSnapshot })
        #expect(index.operationIndexSnapshot.snapshot.tags.suffix(2) == ["verified:ok", "protected"])
    }

    @Test("lists what a prune removed and by which rules, and the figures of a garbage collection")
    func maintenance() async throws {
        let world = try MemberWorld(store: true)
        await world.feed.round(isComplete: true)
        let task = world.tasks.start("prunejob", id: "store:daily", owner: Self.owner)
        task.log("prune store: --keep-last 3 --keep-daily 7")
        task.log("group host/a of store:east")
        task.log("keep host/a/2024-05-31T00:00:00Z (keep-last)")
        task.log("remove host/a/2024-05-30T00:00:00Z (not kept)")
        task.finish()
        await task.waitUntilStopped()
        await world.feed.round(isComplete: true)
        let operation = try #require(try listed(world).first)
        #expect(operation.planID == "_system_" && operation.operationForget.forget.map(\.hostname) == ["a"])
        #expect(operation.operationForget.forget.first?.tags.first == "plan:store_east")
        let rules = operation.operationForget.policy.policyTimeBucketed
        #expect(rules.keepLastN == 3 && rules.daily == 7 && rules.weekly == 0)
    }

    @Test("does not mix up places whose names look alike, and names plans by store and namespace")
    func names() throws {
        #expect(StoreView.plan("store", .root) == "store" && StoreView.plan("my_store", .root) == "my_store")
        #expect(try StoreView.plan("store", Namespace(parsing: "a/b")) == "store_a_b")
        let alike = try [
            StoreView.plan("store", Namespace(parsing: "a/b")), StoreView.plan("store", Namespace(parsing: "a_b")),
            StoreView.plan("store_a", Namespace(parsing: "b")),
        ]
        #expect(Set(alike).count == 3)
    }

    @Test("is granted by repo or plan, and by neither where one is excluded")
    func scopes() throws {
        func scope(_ scopes: [String]) throws -> MemberScope {
            try MemberScope([PeerGrant(.readOperations, scopes: scopes)])
        }
        #expect(try scope(["*"]).mayReadOperations(repo: "r", plan: "_system_"))
        #expect(try scope(["plan:r_a"]).mayReadOperations(repo: "r", plan: "r_a"))
        #expect(try !scope(["plan:r_a"]).mayReadOperations(repo: "r", plan: "r"))
        #expect(try !scope(["*", "!plan:r_a"]).mayReadOperations(repo: "r", plan: "r_a"))
        #expect(try scope(["*", "!plan:r_a"]).mayReadOperations(repo: "r", plan: "r"))
        #expect(try scope(["*", "!plan:elsewhere"]).mayReadOperations(repo: "r", plan: "_system_"))
        // What tells of all namespaces would tell of the excluded one.
        #expect(try !scope(["*", "!plan:r_a"]).mayReadOperations(repo: "r", plan: "_system_"))
        #expect(try scope(["*", "!plan:r_a", "plan:_system_"]).mayReadOperations(repo: "r", plan: "_system_"))
        #expect(try !scope(["*", "!repo:r"]).mayReadOperations(repo: "r", plan: "q"))
        #expect(try !MemberScope([]).mayReadOperations(repo: "r", plan: "r"))
        #expect(try !MemberScope([PeerGrant(.readConfig, scopes: ["*"])]).mayReadOperations(repo: "r", plan: "r"))
    }
}

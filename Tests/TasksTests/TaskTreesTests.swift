import BackupFormats
import Platform
import Synchronization
import Testing

@testable import Tasks

@Suite("All trees of tasks")
struct TaskTreesTests {
    let setting: TreeSetting

    init() throws { setting = try TreeSetting() }

    private func end(_ name: String = "backup run") async throws -> String {
        let root = try setting.start(name, isFollowed: false)
        try await root.run { _ in }
        try await setting.settle(root.id)
        return root.id
    }

    @Test("outlive the server; what ran is interrupted then")
    func restart() async throws {
        let done = try await end()
        let root = try setting.start(isFollowed: false)
        let work = Task {
            try await root.run { node in
                try await node.run("done") { _ in }
                try await node.run("part") { _ in try await Task.sleep(for: .seconds(600)) }
            }
        }
        let folder = setting.trees.folder
        try await waitUntil {
            (try? JSONValue(parsing: FileSystem.read("\(folder.path)/\(root.id).running", limit: 1 << 20)))?["tasks"]?
                .arrayValue?.count == 2
        }
        setting.tasks.clock.move(by: 100)
        // A second opener stands for the next start: the folder knows nothing of the first.
        let again = try TreeSetting.open(setting.tasks)
        let task = try await again.task(root.id)
        #expect(task["status"] == "interrupted")
        #expect(task["end"] == .integer(setting.tasks.clock.seconds * 1000))
        #expect(task["tasks"]?.arrayValue?.map { $0["status"] } == ["success", "interrupted"])
        #expect(try await again.task(done)["status"] == "success")
        work.cancel()
        try await setting.trees.cancel(root.id)
    }

    @Test("end as interrupted when the server stops in order")
    func shutDown() async throws {
        let root = try setting.start()
        let work = Task {
            try await root.run { try await $0.run("part") { _ in try await Task.sleep(for: .seconds(600)) } }
        }
        try await waitUntil { try await setting.trees.task(root.id)["tasks"] != nil }
        await setting.trees.shutDown()
        _ = try? await work.value
        let task = try await setting.trees.task(root.id)
        #expect(task["status"] == "interrupted")
        #expect(task["tasks"]?.arrayValue?.first?["status"] == "interrupted")
        #expect(try await setting.events(root).count == 4)
        #expect(throws: BackupFailure.self) { try setting.start() }
    }

    @Test("close what does not end in time when the server stops")
    func stubborn() async throws {
        let root = try setting.start()
        let (gate, open) = AsyncStream<Void>.makeStream()
        let work = Task {
            try await root.run { node in
                await Task.detached { for await _ in gate {} }.value
                node.info("too late")
            }
        }
        await setting.trees.shutDown(patience: .milliseconds(100))
        #expect(try await setting.trees.task(root.id)["status"] == "interrupted")
        open.finish()
        try await work.value
        #expect(try await setting.trees.task(root.id)["infos"] == nil)
    }

    @Test("are listed newest first, among the server's other tasks")
    func all() async throws {
        let first = try await end("first")
        setting.tasks.clock.move(by: 10)
        let upid = try await setting.tasks.end("backup", "s1:host/web")
        setting.tasks.clock.move(by: 10)
        let second = try await end("second")
        let entries = try await setting.trees.all()
        #expect(entries.map(\.id) == [second, TaskIDs.id(of: upid), first])
        let other = try #require(try await setting.trees.task(entries[1]))
        #expect(other["name"] == "backup" && other["status"] == "success")
        #expect(other["properties"]?["workerId"] == "s1:host/web")
        #expect(try await setting.trees.task(TaskIDs.id(of: upid)) == other)
    }

    @Test("can be removed when they have ended, whole only")
    func destroy() async throws {
        let root = try setting.start(isFollowed: false)
        let (gate, open) = AsyncStream<Void>.makeStream()
        let work = Task { try await root.run { try await $0.run("part") { _ in for await _ in gate {} } } }
        try await waitUntil { try await setting.trees.task(root.id)["tasks"] != nil }
        let part = try #require(try await setting.trees.task(root.id)["tasks"]?.arrayValue?.first?["id"]?.stringValue)
        await #expect(throws: TaskQueryFailure.pending(root.id)) { try await setting.trees.destroy(root.id) }
        await #expect(throws: TaskQueryFailure.notRoot(part)) { try await setting.trees.destroy(part) }
        open.finish()
        try await work.value
        await #expect(throws: TaskQueryFailure.notRoot(part)) { try await setting.trees.destroy(part) }
        try await setting.trees.destroy(root.id)
        await #expect(throws: TaskQueryFailure.unknown(root.id)) { try await setting.trees.task(root.id) }
        await #expect(throws: TaskQueryFailure.unknown(root.id)) { try await setting.trees.destroy(root.id) }
        #expect(try await setting.trees.all().isEmpty)
        let other = TaskIDs.id(of: try await setting.tasks.end())
        await #expect(throws: TaskQueryFailure.foreign(other)) { try await setting.trees.destroy(other) }
    }

    @Test("go when they are old and many")
    func retention() async throws {
        let folder = setting.trees.folder
        let ids = TaskIDs()
        let now = setting.tasks.clock.seconds * 1000
        let old = (0..<1010).map { ids.next(at: now - TaskTrees.maxAge - 2_000_000 + $0) }
        let young = (0..<5).map { ids.next(at: now + $0) }
        for id in old + young { try folder.write(["id": .string(id)], id, isEnded: true) }
        let again = try TreeSetting.open(setting.tasks)
        let kept = again.state.withLock { $0.ended }
        #expect(kept.count == TaskTrees.minTrees)
        #expect(kept.isSuperset(of: young) && !kept.contains(old[0]))
    }

    @Test("whose file is damaged are left out, and stop nobody")
    func damaged() async throws {
        let done = try await end()
        let path = "\(setting.trees.folder.path)/\(done).json"
        try AtomicFile.replace(path, with: Array("{".utf8))
        try AtomicFile.replace("\(setting.trees.folder.path)/0mh8x4zq1-aaaa.running", with: Array("no".utf8))
        try AtomicFile.replace("\(setting.trees.folder.path)/stray.json", with: [])
        let again = try TreeSetting.open(setting.tasks)
        await #expect(throws: TaskQueryFailure.unknown(done)) { try await again.task(done) }
        #expect(try await again.events(since: "", atMost: .zero)["events"] == [])
    }
}

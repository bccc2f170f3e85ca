import BackupFormats
import Synchronization
import Testing

@testable import Tasks

@Suite("Followers of all tasks")
struct TaskEventsTests {
    let setting: TreeSetting

    init() throws { setting = try TreeSetting() }

    private func events(_ token: String, _ limit: Duration = .zero) async throws -> (seen: [String], token: String) {
        let answer = try await setting.trees.events(since: token, atMost: limit)
        let seen = (answer["events"]?.arrayValue ?? []).map { event in
            #expect(event["class"] == "Task")
            return "\(event["operation"]?.stringValue ?? "?") \(event["snapshot"]?["id"]?.stringValue ?? "?")"
        }
        return (seen, try #require(answer["token"]?.stringValue))
    }

    @Test("get everything once, then exactly what changed")
    func changes() async throws {
        let old = try setting.start(isFollowed: false)
        try await old.run { _ in }
        let first = try await events("")
        #expect(first.seen == ["add \(old.id)"])
        #expect(try await events(first.token).seen.isEmpty)

        let root = try setting.start(isFollowed: false)
        try await root.run { try await $0.run("part") { _ in } }
        let second = try await events(first.token)
        #expect(second.seen == ["add \(root.id)"])
        try await setting.trees.destroy(old.id)
        try await setting.trees.destroy(root.id)
        // Created and gone in between: the first token sees nothing of it.
        #expect(try await events(first.token).seen == ["del \(old.id)"])
        #expect(try await events(second.token).seen == ["del \(old.id)", "del \(root.id)"])
    }

    @Test("see a change of a task that they know as one change, whatever happened in it")
    func coalescing() async throws {
        let root = try setting.start(isFollowed: false)
        let token = try await events("").token
        try await root.run { node in for part in 0..<20 { try await node.run("part \(part)") { _ in } } }
        let answer = try await setting.trees.events(since: token, atMost: .zero)
        #expect(answer["events"]?.arrayValue?.count == 1)
        #expect(answer["events"]?.arrayValue?.first?["operation"] == "mod")
        #expect(answer["events"]?.arrayValue?.first?["snapshot"]?["tasks"]?.arrayValue?.count == 20)
    }

    @Test("see the server's other tasks begin and end")
    func serverTasks() async throws {
        let token = try await events("").token
        let task = try setting.tasks.start()
        let begun = try await events(token)
        #expect(begun.seen == ["add \(TaskIDs.id(of: task.upid))"])
        task.finish()
        await task.waitUntilStopped()
        #expect(try await events(begun.token).seen == ["mod \(TaskIDs.id(of: task.upid))"])
    }

    @Test("wait in great number, and all wake at a change")
    func waiters() async throws {
        let token = try await events("").token
        let trees = setting.trees
        let work = (0..<150).map { _ in Task { try await trees.events(since: token, atMost: .seconds(300)) } }
        try await waitUntil { trees.waiterCount == 150 }
        let root = try setting.start(isFollowed: false)
        for waiter in work {
            let answer = try await waiter.value
            #expect(answer["events"]?.arrayValue?.first?["snapshot"]?["id"] == .string(root.id))
        }
        #expect(trees.waiterCount == 0)
        root.node.end(isSuccess: true)
    }

    @Test("who go away no longer wait")
    func vanishing() async throws {
        let token = try await events("").token
        let trees = setting.trees
        let work = Task { try await trees.events(since: token, atMost: .seconds(300)) }
        try await waitUntil { trees.waiterCount == 1 }
        work.cancel()
        await #expect(throws: CancellationError.self) { try await work.value }
        #expect(trees.waiterCount == 0)
    }

    @Test("get a token to go on with when nothing happened")
    func timeout() async throws {
        let token = try await events("").token
        let (seen, next) = try await events(token, .milliseconds(50))
        #expect(seen.isEmpty)
        let root = try setting.start(isFollowed: false)
        #expect(try await events(next).seen == ["add \(root.id)"])
        root.node.end(isSuccess: true)
    }

    @Test("learn that a token is of another run, or none")
    func tokens() async throws {
        let token = try await events("").token
        for bad in ["x", "1:2:3", token + "x", ":5", token.replacing(":", with: ":-")] {
            await #expect(throws: TaskQueryFailure.malformedToken, "\(bad)") { try await events(bad) }
        }
        for lost in ["00000000:5", token.split(separator: ":")[0] + ":999999"] {
            await #expect(throws: TaskQueryFailure.eventsLost, "\(lost)") { try await events(String(lost)) }
        }
        let again = try TreeSetting.open(setting.tasks)
        await #expect(throws: TaskQueryFailure.eventsLost) { try await again.events(since: token, atMost: .zero) }
    }

    @Test("who come too late begin anew")
    func forgotten() throws {
        let changes = TaskChanges()
        for number in 0..<(TaskChanges.maxTasks + 10) { changes.created("t\(number)", .tree) }
        #expect(changes.since(0) == nil)
        let last = changes.sequence
        #expect(changes.since(last)?.changes.isEmpty == true)
        for number in 0..<(TaskChanges.maxRemoved + 1) { changes.removed("t\(number + 9000)", .tree, last: [:]) }
        #expect(changes.since(last) == nil)
        #expect(changes.since(last + 1)?.changes.count == TaskChanges.maxRemoved)
    }
}

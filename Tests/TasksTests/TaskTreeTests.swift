import BackupFormats
import CairnTestSupport
import Platform
import Synchronization
import Testing

@testable import Tasks

@Suite("A tree of tasks")
struct TaskTreeTests {
    let setting: TreeSetting

    init() throws { setting = try TreeSetting() }

    @Test("tells its life from the root's start to the root's end")
    func events() async throws {
        let root = try setting.start("backup run", ["jobId": "job-1"])
        try await root.run { node in
            node.info("vms", ["vms": ["v1"]])
            try await node.run("backup VM", ["type": "VM", "id": "v1"]) { vm in
                let size = try await vm.run("transfer", result: { ["size": .integer($0)] }) { transfer in
                    transfer.progress(0.5)
                    return 42
                }
                #expect(size == 42)
            }
        }
        let kinds = try await setting.events(root).map { event -> String in
            switch event.kind {
            case .start(_, let name, _): "start \(name)"
            case .property(let name, let value): "\(name) \(value.compactText)"
            case .info(let message, _): "info \(message)"
            case .warning(let message, _): "warning \(message)"
            case .abortionRequested: "abort"
            case .end(let isSuccess, let result): "end \(isSuccess) \(result?.compactText ?? "")"
            }
        }
        #expect(
            kinds == [
                "start backup run", "info vms", "start backup VM", "start transfer", "progress 50",
                "end true {\"size\":42}", "end true ", "end true ",
            ])
    }

    @Test("is shown with properties, data and children in order")
    func json() async throws {
        let root = try setting.start("backup run", ["jobId": "job-1"], isFollowed: false)
        try await root.run { node in
            try await node.run("a") { _ in }
            try await node.run("b", ["type": "VM"]) { $0.warning("careful", ["x": 1]) }
        }
        let task = try await setting.trees.task(root.id)
        #expect(task["status"] == "success")
        #expect(task["properties"] == ["name": "backup run", "jobId": "job-1"])
        #expect(task["data"] == ["jobId": "job-1"])
        #expect(task["tasks"]?.arrayValue?.map { $0["name"] } == ["a", "b"])
        #expect(task["tasks"]?.arrayValue?.last?["warnings"] == [["message": "careful", "data": ["x": 1]]])
        let child = try #require(task["tasks"]?.arrayValue?.last?["id"]?.stringValue)
        #expect(try await setting.trees.task(child)["name"] == "b")
        try await setting.settle(root.id)
        #expect(try await setting.trees.task(root.id) == task)
        #expect(try await setting.trees.task(child)["name"] == "b")
    }

    @Test("says failure where a part failed although the root's end was a success")
    func failedPart() async throws {
        let root = try setting.start()
        try await root.run { node in
            _ = try? await node.run("backup VM", ["id": "v1"]) { _ in throw failure("no space") }
        }
        let task = try await setting.trees.task(root.id)
        #expect(task["status"] == "failure")
        #expect(task["tasks"]?.arrayValue?.first?["result"]?["message"] == "no space")
        guard case .end(true, nil) = try await setting.events(root).last?.kind else {
            Issue.record("the root's end is no success")
            return
        }
    }

    @Test("forgives a failure that was tried again with success")
    func retry() async throws {
        let root = try setting.start()
        try await root.run { node in
            try await node.run("backup VM", ["id": "v1"]) { vm in
                _ = try? await vm.run("export", ["id": "r1"]) { _ in throw failure("once") }
                vm.warning("retry", ["attempt": 1, "isRetry": true])
                try await vm.run("export", ["id": "r1"]) { _ in }
            }
        }
        #expect(try await setting.trees.task(root.id)["status"] == "success")
    }

    @Test("is skipped for the three reasons that are no errors", arguments: TaskTreeStatus.skippingMessages)
    func skipped(for message: String) async throws {
        let root = try setting.start()
        try await root.run { node in
            _ = try? await node.run("backup VM") { _ in throw failure(message) }
        }
        let task = try await setting.trees.task(root.id)
        #expect(task["status"] == "skipped")
        #expect(task["tasks"]?.arrayValue?.first?["status"] == "skipped")
    }

    @Test("that is asked to end is cancelled at every level, and says so")
    func cancel() async throws {
        let root = try setting.start()
        let id = root.id
        let work = Task {
            try await root.run { node in
                try await node.run("backup VM") { vm in
                    try await vm.run("transfer") { _ in try await Task.sleep(for: .seconds(600)) }
                }
            }
        }
        try await waitUntil { try await setting.trees.task(id)["tasks"]?.arrayValue?.first?["tasks"] != nil }
        try await setting.trees.cancel(id)
        await #expect(throws: CancellationError.self) { try await work.value }
        let task = try await setting.trees.task(id)
        #expect(task["status"] == "canceled")
        #expect(task["abortionRequestedAt"] != nil)
        #expect(task["tasks"]?.arrayValue?.first?["tasks"]?.arrayValue?.first?["status"] == "canceled")
        await #expect(throws: TaskQueryFailure.notPending(id, .canceled)) { try await setting.trees.cancel(id) }
        let upid = try UPID(parsing: try #require(task["upid"]?.stringValue))
        await setting.tasks.registry.waitUntilStopped(upid)
        #expect(try setting.tasks.registry.info(upid)?.status == TaskStatus.aborted)
    }

    @Test("ends when the same work is aborted in the list of all tasks")
    func abort() async throws {
        let root = try setting.start()
        let work = Task { try await root.run { _ in try await Task.sleep(for: .seconds(600)) } }
        let upid = try UPID(parsing: try #require(try await setting.trees.task(root.id)["upid"]?.stringValue))
        #expect(setting.tasks.registry.abort(upid))
        await #expect(throws: CancellationError.self) { try await work.value }
        #expect(try await setting.trees.task(root.id)["status"] == "canceled")
    }

    @Test("goes on elsewhere when one of its parts is asked to end")
    func cancelPart() async throws {
        let root = try setting.start()
        let work = Task {
            try await root.run { node in
                _ = try? await node.run("one") { _ in try await Task.sleep(for: .seconds(600)) }
                try await node.run("two") { _ in }
            }
        }
        try await waitUntil { try await setting.trees.task(root.id)["tasks"] != nil }
        let part = try #require(try await setting.trees.task(root.id)["tasks"]?.arrayValue?.first?["id"]?.stringValue)
        try await setting.trees.cancel(part)
        try await work.value
        let task = try await setting.trees.task(root.id)
        #expect(task["tasks"]?.arrayValue?.map { $0["status"] } == ["canceled", "success"])
        #expect(task["status"] == "failure")
    }

    @Test("goes on when the caller who waits for it goes away")
    func callerLeaves() async throws {
        let root = try setting.start()
        let (gate, open) = AsyncStream<Void>.makeStream()
        let caller = Task { try await root.run { _ in for await _ in gate {} } }
        caller.cancel()
        open.finish()
        try await waitUntil { try await setting.trees.task(root.id)["status"] != "pending" }
        #expect(try await setting.trees.task(root.id)["status"] == "success")
    }

    @Test("leaves its story in the log that every task has")
    func readableLog() async throws {
        let root = try setting.start()
        try await root.run { node in
            _ = try? await node.run("backup VM", ["id": "v1", "name_label": "web"]) { vm in
                vm.warning("slow")
                throw failure("no space")
            }
        }
        let upid = try UPID(parsing: try #require(try await setting.trees.task(root.id)["upid"]?.stringValue))
        #expect(upid.workerType == "xo-backup")
        await setting.tasks.registry.waitUntilStopped(upid)
        let lines = try setting.tasks.lines(upid).map { String($0.dropFirst("2024-06-01T00:00:00+00:00: ".count)) }
        #expect(
            lines == [
                "backup run: started", "backup VM web: started", "warning: backup VM web: slow",
                "backup VM web: failed: no space", "backup run: done", "TASK ERROR: backup VM web: no space",
            ])
    }

    @Test("keeps a bounded number of messages of one task")
    func messages() async throws {
        let root = try setting.start(isFollowed: false)
        try await root.run { node in
            for number in 0..<(TaskPart.maxMessages + 100) { node.info("message \(number)") }
        }
        #expect(try await setting.trees.task(root.id)["infos"]?.arrayValue?.count == TaskPart.maxMessages)
    }

    @Test("never waits for a slow reader, who is told how much was left out")
    func slowReader() async throws {
        let root = try setting.start()
        try await root.run { node in
            for part in 0..<6 {
                try await node.run("part \(part)") { child in
                    for number in 0..<TaskPart.maxMessages { child.info("message \(number)") }
                }
            }
        }
        let events = try await setting.events(root)
        let starts = events.filter { if case .start = $0.kind { true } else { false } }
        let ends = events.filter { if case .end = $0.kind { true } else { false } }
        #expect(starts.count == 7 && ends.count == 7)
        let infos = events.filter { if case .info = $0.kind { true } else { false } }
        #expect(infos.count == TaskStream.limit)
        let left = 6 * TaskPart.maxMessages - TaskStream.limit
        guard case .warning(let text, _) = events.dropLast().last?.kind else {
            Issue.record("no warning before the end")
            return
        }
        #expect(text.hasPrefix("\(left) messages"))
    }
}

/// Waits for a condition, for minutes if need be.
func waitUntil(_ condition: () async throws -> Bool) async throws {
    for _ in 0..<12000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("the condition was not met")
}

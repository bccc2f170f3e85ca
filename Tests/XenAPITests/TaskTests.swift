import BackupFormats
import Synchronization
import Testing

@testable import XenAPI

@Suite("A task of a pool")
struct TaskTests {
    private func withPool(_ body: (FakePool, XenConnection) async throws -> Void) async throws {
        let pool = try await FakePool.start()
        let host = try await pool.connect()
        pool.on("Async.VM.snapshot") { _ in .string(pool.makeTask()) }
        do { try await body(pool, host) } catch {
            await host.close()
            await pool.stop()
            throw error
        }
        await host.close()
        await pool.stop()
    }

    private func started(_ pool: FakePool) async throws -> String {
        while true {
            if let task = pool.tasks.keys.first { return task }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    @Test(
        "gives its result",
        arguments: [
            ("<value>OpaqueRef:1</value>", "OpaqueRef:1"), ("", ""), ("OpaqueRef:2", "OpaqueRef:2"),
            ("<value><string>a &lt;&amp;&gt; b</string></value>", "a <&> b"), ("<value/>", ""),
        ])
    func results(_ raw: String, _ result: String) async throws {
        try await withPool { pool, host in
            let work = Task { try await host.run("VM.snapshot", ["OpaqueRef:v", "name"]) }
            pool.set(try await started(pool), "success", result: raw)
            #expect(try await work.value == result)
            #expect(pool.tasks.isEmpty)
        }
    }

    @Test("is heard of by events, of which one question is on its way at a time")
    func events() async throws {
        try await withPool { pool, host in
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<10 { group.addTask { try await host.run("VM.snapshot", []) } }
                while pool.tasks.count < 10 { try await Task.sleep(for: .milliseconds(2)) }
                // All have looked once, and wait for events.
                while pool.count("task.get_record") < 10 { try await Task.sleep(for: .milliseconds(2)) }
                let tasks = pool.tasks.keys
                for task in tasks { pool.set(task, "success", result: task) }
                var results: Set<String> = []
                for try await result in group { results.insert(result) }
                #expect(results == Set(tasks))
            }
            #expect(pool.count("event.from") < 25)
        }
    }

    @Test("is found ended also where events are lost")
    func lostEvents() async throws {
        try await withPool { pool, host in
            pool.state.withLock { $0.eventsFail = 3 }
            let work = Task { try await host.run("VM.snapshot", []) }
            let task = try await started(pool)
            while pool.count("event.from") < 2 { try await Task.sleep(for: .milliseconds(2)) }
            pool.set(task, "success", result: "OpaqueRef:x")
            #expect(try await work.value == "OpaqueRef:x")
        }
    }

    @Test("is found ended where there are no events at all")
    func noEvents() async throws {
        try await withPool { pool, host in
            pool.on("event.from") { _ in throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN", parameters: ["event.from"]) }
            let work = Task { try await host.run("VM.snapshot", []) }
            let task = try await started(pool)
            while pool.count("task.get_record") < 2 { try await Task.sleep(for: .milliseconds(2)) }
            pool.set(task, "success")
            #expect(try await work.value == "")
        }
    }

    @Test("that fails brings the host's reason, and is destroyed")
    func failure() async throws {
        try await withPool { pool, host in
            let work = Task { try await host.run("VM.snapshot", []) }
            pool.set(try await started(pool), "failure", error: ["SR_FULL", "1", "2"])
            await #expect(throws: XenFailure(code: "SR_FULL", parameters: ["1", "2"])) { try await work.value }
            #expect(pool.tasks.isEmpty)
        }
    }

    @Test("is cancelled on the host, and destroyed, when the caller is cancelled")
    func cancellation() async throws {
        try await withPool { pool, host in
            let work = Task { try await host.run("VM.snapshot", []) }
            _ = try await started(pool)
            work.cancel()
            await #expect(throws: CancellationError.self) { try await work.value }
            #expect(pool.count("task.cancel") == 1)
            #expect(pool.tasks.isEmpty)
        }
    }

    @Test("that had succeeded before it could be cancelled gives its result")
    func lateCancellation() async throws {
        try await withPool { pool, host in
            pool.on("task.cancel") { parameters in
                pool.set(parameters[0].stringValue ?? "", "success", result: "OpaqueRef:made")
                return ""
            }
            let work = Task { try await host.run("VM.snapshot", []) }
            _ = try await started(pool)
            work.cancel()
            #expect(try await work.value == "OpaqueRef:made")
        }
    }

    @Test("holds the references of an array")
    func references() {
        let text = "<value><array><data><value>OpaqueRef:a</value><value>OpaqueRef:b</value></data></array></value>"
        #expect(XenTaskResult.references(text) == ["OpaqueRef:a", "OpaqueRef:b"])
        #expect(XenTaskResult.references("OpaqueRef:c") == ["OpaqueRef:c"])
        #expect(XenTaskResult.references("<value/>") == [])
    }
}

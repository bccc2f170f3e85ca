package import BackupFormats
import Logging

extension XenConnection {
    package func run(_ method: String, _ parameters: [JSONValue]) async throws -> String {
        guard let task = try await call("Async.\(method)", parameters).stringValue else {
            throw BackupFailure(.corruptData, "The host answers Async.\(method) without a task")
        }
        return try await finish(task)
    }

    /// Waits for a task, which it cancels where the Swift task is cancelled, and destroys it.
    private func finish(_ task: String) async throws -> String {
        let end: XenTaskEnd
        do {
            end = try await self.end(of: task)
        } catch is CancellationError {
            end = await endAfterCancelling(task)
        } catch {
            await destroyTask(task)
            throw error
        }
        await destroyTask(task)
        if case .success = end { return try end.result() }
        try Task.checkCancellation()
        return try end.result()
    }

    /// Waits until a task has ended.
    func end(of task: String) async throws -> XenTaskEnd {
        let (key, news) = await watcher.listen(to: task) { try await self.events($0) }
        do {
            let end = try await end(of: task, news)
            await watcher.stop(task, key)
            return end
        } catch {
            await watcher.stop(task, key)
            throw error
        }
    }

    private func end(of task: String, _ news: AsyncStream<XenTaskWatcher.News>) async throws -> XenTaskEnd {
        if let end = try await look(at: task) { return end }
        for await item in news {
            let end: XenTaskEnd? =
                switch item {
                case .changed(let record): XenTaskEnd(record)
                case .gone: .failure(XenFailure(code: "HANDLE_INVALID", parameters: ["task", task]))
                case .look: try await look(at: task)
                }
            if let end { return end }
        }
        try Task.checkCancellation()
        throw BackupFailure(.unavailable, "The connection to the pool was closed while a task ran")
    }

    private func look(at task: String) async throws -> XenTaskEnd? {
        do {
            return XenTaskEnd(try await record("task", task))
        } catch let failure as XenFailure {
            // A task that is gone has an end, though nobody knows which.
            return .failure(failure)
        }
    }

    /// The end of a task, if it comes within `limit`, whatever happens to the Swift task.
    func end(of task: String, within limit: Duration) async -> XenTaskEnd? {
        let work = Task { try await self.end(of: task) }
        let timer = Task {
            try await Task.sleep(for: limit)
            work.cancel()
        }
        defer { timer.cancel() }
        return try? await work.value
    }

    /// Asks the host to cancel a task, and waits a while until it has ended.
    func endAfterCancelling(_ task: String, within limit: Duration? = nil) async -> XenTaskEnd {
        _ = try? await uncancelled { try await self.call("task.cancel", [.string(task)]) }
        return await end(of: task, within: limit ?? limits.verdict) ?? .cancelled
    }

    func destroyTask(_ task: String) async {
        do {
            _ = try await uncancelled { try await self.call("task.destroy", [.string(task)]) }
        } catch {
            logger.debug("a task of the pool could not be destroyed: \(error)")
        }
    }

    /// Makes a task of our own, which the host ties to a transfer.
    func createTask(_ label: String, _ description: String) async throws -> String {
        guard
            let task = try await call("task.create", [.string("[XO] \(label)"), .string(description)]).stringValue
        else { throw BackupFailure(.corruptData, "The host answers task.create without a task") }
        return task
    }
}

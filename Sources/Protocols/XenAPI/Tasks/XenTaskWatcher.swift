import BackupFormats
import Synchronization

/// Tells those who wait for tasks of the pool when these change: one question for events on its way per connection, as
/// long as anybody waits. (Spec: xo-proxy §6.3.)
///
/// A waiter looks at its task itself once, after it began to listen; where events are lost or not to be had, it is told
/// to look again.
actor XenTaskWatcher {
    enum News: Sendable {
        /// The task's record, as the event has it.
        case changed(JSONObject)
        case gone
        /// Something may have been missed.
        case look
    }

    typealias Question = @Sendable (_ parameters: [JSONValue]) async throws -> JSONValue

    private let limits: XenLimits
    private var listeners: [String: [Int: AsyncStream<News>.Continuation]] = [:]
    private var nextKey = 0
    private var loop: Task<Void, Never>?
    private var token = ""

    init(limits: XenLimits) { self.limits = limits }

    /// News of a task until ``stop(_:_:)``, at most one in wait: the newest.
    func listen(to reference: String, asking: @escaping Question) -> (key: Int, news: AsyncStream<News>) {
        nextKey += 1
        let key = nextKey
        let (stream, continuation) = AsyncStream.makeStream(of: News.self, bufferingPolicy: .bufferingNewest(1))
        listeners[reference, default: [:]][key] = continuation
        if loop == nil { loop = Task { await self.watch(asking) } }
        return (key, stream)
    }

    func stop(_ reference: String, _ key: Int) {
        listeners[reference]?.removeValue(forKey: key)?.finish()
        if listeners[reference]?.isEmpty == true { listeners[reference] = nil }
    }

    func close() {
        loop?.cancel()
        for waiting in listeners.values { for continuation in waiting.values { continuation.finish() } }
        listeners = [:]
    }

    private func watch(_ ask: Question) async {
        defer { loop = nil }
        while !Task.isCancelled, !listeners.isEmpty {
            do {
                let answer = try await ask([["task"], .string(token), .number(XenLimits.eventWait)])
                let events = answer["events"]?.arrayValue ?? []
                token = answer["token"]?.stringValue ?? ""
                for event in events { tell(event) }
                // Quiet for a minute, or a host that does not hold the question back.
                if events.isEmpty {
                    tellAll(.look)
                    try await Task.sleep(for: limits.look)
                }
            } catch {
                token = ""
                tellAll(.look)
                if (error as? XenFailure)?.code != "EVENTS_LOST" { try? await Task.sleep(for: limits.look) }
            }
        }
    }

    private func tell(_ event: JSONValue) {
        guard event["class"]?.stringValue == "task", let reference = event["ref"]?.stringValue,
            let waiting = listeners[reference]
        else { return }
        let news: News =
            if event["operation"]?.stringValue == "del" {
                .gone
            } else if let record = event["snapshot"]?.objectValue {
                .changed(record)
            } else {
                .look
            }
        for continuation in waiting.values { continuation.yield(news) }
    }

    private func tellAll(_ news: News) {
        for waiting in listeners.values { for continuation in waiting.values { continuation.yield(news) } }
    }
}

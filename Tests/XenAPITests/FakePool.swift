import BackupFormats
import Logging
import Synchronization

@testable import XenAPI

/// The least that a pool has to be: sessions, tasks with events, and whatever the test adds by closures.
final class FakePool: Sendable {
    typealias Call = @Sendable (_ parameters: [JSONValue]) async throws -> JSONValue

    struct State {
        var host: FakeHost?
        var calls: [String] = []
        var sessions: Set<String> = []
        var logins = 0
        var tasks: [String: JSONObject] = [:]
        var versions: [String: Int] = [:]
        var version = 0
        var methods: [String: Call] = [:]
        var handler: FakeHost.Handler?
        var pool: JSONObject = ["uuid": "p", "master": "OpaqueRef:h1", "other_config": [:]]
        var eventsFail = 0
        var resets: [String: Int] = [:]
        var usesOldErrors = false
    }

    let state = Mutex(State())

    static func start() async throws -> FakePool {
        let pool = FakePool()
        let host = try await FakeHost.start { await pool.answer($0) }
        pool.state.withLock { $0.host = host }
        return pool
    }

    var host: FakeHost { get throws { try state.withLock { try $0.host.unwrapped() } } }
    var calls: [String] { state.withLock { $0.calls } }
    func count(_ method: String) -> Int { calls.count { $0 == method } }

    func on(_ method: String, _ body: @escaping Call) { state.withLock { $0.methods[method] = body } }
    func serve(_ handler: @escaping FakeHost.Handler) { state.withLock { $0.handler = handler } }

    func stop() async { await state.withLock { $0.host }?.stop() }

    /// A connection with limits that a test can wait for.
    func connect(_ change: (inout XenLimits) -> Void = { _ in }) async throws -> XenConnection {
        var limits = XenLimits()
        limits.resetPause = .milliseconds(20)
        limits.busyPause = .milliseconds(20)
        limits.look = .milliseconds(50)
        change(&limits)
        return try await XenConnection.open(try target(), limits: limits, logger: Logger(label: "test"))
    }

    func target() throws -> XenTarget {
        try XenTarget([
            "url": .string("http://\(try host.address)"), "credentials": ["username": "root", "password": "secret"],
        ])
    }

    func set(_ task: String, _ status: String, result: String = "", error: [String] = []) {
        state.withLock { state in
            guard state.tasks[task] != nil else { return }
            state.version += 1
            state.versions[task] = state.version
            state.tasks[task]?["status"] = .string(status)
            state.tasks[task]?["result"] = .string(result)
            state.tasks[task]?["error_info"] = .array(error.map { .string($0) })
        }
    }

    /// Tasks that are still there.
    var tasks: [String: JSONObject] { state.withLock { $0.tasks } }

    func makeTask() -> String {
        state.withLock { state in
            state.version += 1
            let task = "OpaqueRef:t\(state.version)"
            state.versions[task] = state.version
            state.tasks[task] = ["status": "pending", "result": "", "error_info": []]
            return task
        }
    }

    private func answer(_ request: FakeHost.Request) async -> FakeHost.Answer {
        if request.path != "/jsonrpc" {
            let handler = state.withLock { $0.handler }
            return await handler?(request) ?? .status(404)
        }
        guard let message = request.json, let method = message["method"]?.stringValue,
            let parameters = message["params"]?.arrayValue
        else { return .status(400) }
        let isReset = state.withLock { state in
            state.calls.append(method)
            guard let left = state.resets[method], left > 0 else { return false }
            state.resets[method] = left - 1
            return true
        }
        if isReset { return .reset }
        do {
            return .json(["jsonrpc": "2.0", "result": try await result(method, parameters), "id": message["id"] ?? 0])
        } catch let failure as XenFailure {
            let data = JSONValue.array(failure.parameters.map { .string($0) })
            if state.withLock({ $0.usesOldErrors }) {
                return .json(["error": .array([.string(failure.code)] + (data.arrayValue ?? [])), "id": 0])
            }
            return .json([
                "jsonrpc": "2.0", "error": ["code": 1, "message": .string(failure.code), "data": data], "id": 0,
            ])
        } catch {
            return .status(500)
        }
    }

    private func result(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue {
        if let body = state.withLock({ $0.methods[method] }) {
            return try await body(method.hasPrefix("session.login") ? parameters : Array(parameters.dropFirst()))
        }
        if method == "session.login_with_password" {
            guard parameters == ["root", "secret"] else { throw XenFailure(code: "SESSION_AUTHENTICATION_FAILED") }
            return state.withLock { state in
                state.logins += 1
                state.sessions.insert("OpaqueRef:s\(state.logins)")
                return .string("OpaqueRef:s\(state.logins)")
            }
        }
        let session = parameters.first?.stringValue ?? ""
        guard state.withLock({ $0.sessions.contains(session) }) else {
            throw XenFailure(code: "SESSION_INVALID", parameters: [session])
        }
        let first = parameters.dropFirst().first?.stringValue ?? ""
        switch method {
        case "session.logout":
            state.withLock { _ = $0.sessions.remove(session) }
            return ""
        case "pool.get_all_records": return ["OpaqueRef:p": .object(state.withLock { $0.pool })]
        case "host.get_all_records": return ["OpaqueRef:h1": ["address": .string(try host.address)]]
        case "task.create": return .string(makeTask())
        case "task.get_record":
            guard let record = tasks[first] else {
                throw XenFailure(code: "HANDLE_INVALID", parameters: ["task", first])
            }
            return .object(record)
        case "task.cancel":
            set(first, "cancelled")
            return ""
        case "task.destroy":
            state.withLock { $0.tasks[first] = nil }
            return ""
        case "event.from": return try await events(parameters)
        default: throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN", parameters: [method])
        }
    }

    private func events(_ parameters: [JSONValue]) async throws -> JSONValue {
        let failure: XenFailure? = state.withLock { state in
            guard state.eventsFail > 0 else { return nil }
            state.eventsFail -= 1
            return XenFailure(code: "EVENTS_LOST")
        }
        if let failure { throw failure }
        guard parameters.count == 4, case .number("60.1") = parameters[3] else {
            throw XenFailure(code: "FIELD_TYPE_ERROR", parameters: ["timeout"])
        }
        let known = Int(parameters[2].stringValue ?? "") ?? 0
        for _ in 0..<500 {
            let (events, version) = state.withLock { state in
                let changed = state.versions.filter { $0.value > known }.keys.sorted()
                let events = changed.map { task -> JSONValue in
                    let snapshot = state.tasks[task].map { JSONValue.object($0) }
                    return [
                        "class": "task", "operation": snapshot == nil ? "del" : "mod", "ref": .string(task),
                        "snapshot": snapshot ?? .null,
                    ]
                }
                return (events, state.version)
            }
            if !events.isEmpty || known == 0 {
                return ["events": .array(events), "token": .string(String(max(version, 1)))]
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        return ["events": [], "token": .string(String(known))]
    }
}

extension Optional {
    struct Missing: Error {}

    func unwrapped() throws -> Wrapped {
        guard let self else { throw Missing() }
        return self
    }
}

/// Gives bytes in pieces of a size, and then fails if it should.
actor ScriptedSource: ByteSource {
    private var rest: [UInt8]
    private let failure: (any Error)?

    init(_ bytes: [UInt8], failure: (any Error)? = nil) {
        rest = bytes
        self.failure = failure
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        guard !rest.isEmpty else {
            if let failure { throw failure }
            return nil
        }
        let piece = Array(rest.prefix(min(maxBytes, 100_000)))
        rest.removeFirst(piece.count)
        return piece
    }
}

func collect(_ source: any ByteSource, pieces: Int = 70_001) async throws -> [UInt8] {
    var result: [UInt8] = []
    while let piece = try await source.read(upTo: pieces) {
        if piece.isEmpty || piece.count > pieces { throw BackupFailure(.internalFault, "a piece of \(piece.count)") }
        result += piece
    }
    return result
}

import BackupFormats
import BackupProtocol
import CairnTestSupport
import Logging
import ManagementAPI
import Platform
import StateDatabase
import Synchronization
import Tasks
import Testing

@testable import XenOrchestraProxy

/// Answers what the proxy does not.
struct Elsewhere: RESTHandler {
    func bodyLimit(method: String, target: String) -> Int { 17 }
    func handle(_ request: RESTRequest) async -> RESTAnswer { .response(RESTResponse(status: 404)) }
    func identify(_ request: RESTRequest) async -> AuthID? { nil }
}

/// A proxy on a state folder of its own.
final class ProxySetting: Sendable {
    let folder: StateFolder
    let database: StateDatabase
    let registry: TaskRegistry
    let trees: TaskTrees
    let tokens: TokenStore
    let xen = FakeXen()
    let proxy: XenOrchestraProxy
    private let workers = WorkerPool(name: "test", width: 2)

    init(_ options: ProxyOptions = ProxyOptions()) throws {
        var log = Logger(label: "test")
        log.logLevel = .critical
        folder = try StateFolder(path: FileSystem.makeTemporaryFolder(prefix: "cairn-proxy"))
        database = try StateDatabase(folder: folder)
        registry = try TaskRegistry(
            database: database, process: ProcessIdentity(node: "host1", pid: 7, startTime: 1), time: .system, log: log)
        trees = try TaskTrees(
            folder: folder.path(of: "xo-tasks"), registry: registry, owner: .root, time: .system, log: log)
        tokens = try TokenStore(folder: folder, time: .system)
        proxy = XenOrchestraProxy(
            before: Elsewhere(), tokens: tokens,
            services: ProxyServices(xen: xen, trees: trees, tokens: tokens, workers: workers), options: options,
            log: log)
    }

    deinit {
        workers.close()
        database.close()
        try? FileSystem.removeTree(folder.path)
    }

    var token: String {
        get throws {
            String(decoding: try #require(try folder.read(TokenStore.fileName)), as: UTF8.self).filter { $0 != "\n" }
        }
    }

    func send(
        _ body: String, method: String = "POST", target: String = "/api/v1", cookie: String? = nil
    ) async throws -> RESTResponse {
        let cookie = try cookie ?? "a=b; authenticationToken=\(token)"
        let request = RESTRequest(
            method: method, target: target, headers: [("cookie", cookie)], body: Array(body.utf8))
        guard case .response(let response) = await proxy.handle(request) else {
            throw BackupFailure(.internalFault, "no response")
        }
        return response
    }

    /// The lines of an answer, each parsed; what a caller's splitter would refuse is a failure.
    func lines(_ response: RESTResponse) async throws -> [JSONValue] {
        var bytes: [UInt8] = []
        switch response.body {
        case .bytes(let whole): bytes = whole
        case .stream(let source, _):
            while let piece = try await source.read(upTo: 1000) { bytes += piece }
        }
        var pieces = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false)
        if pieces.count > 1 { #expect(pieces.removeLast().isEmpty, "the last line has no end") }
        return try pieces.map { try JSONValue(parsing: String($0)) }
    }

    func call(_ method: String, _ parameters: JSONValue? = [:]) async throws -> [JSONValue] {
        var request: JSONObject = ["id": 0, "jsonrpc": "2.0", "method": .string(method)]
        request["params"] = parameters
        let response = try await send(JSONValue.object(request).compactText)
        #expect(response.status == 200)
        #expect(response.header("content-type") == "application/json")
        return try await lines(response)
    }

    /// The one value of a plain answer.
    func value(_ method: String, _ parameters: JSONValue? = [:]) async throws -> JSONValue {
        let lines = try await call(method, parameters)
        #expect(lines.count == 1)
        return try #require(lines[0]["result"], "\(lines[0].compactText)")
    }

    func error(_ method: String, _ parameters: JSONValue? = [:]) async throws -> JSONValue {
        let lines = try await call(method, parameters)
        #expect(lines.count == 1)
        return try #require(lines[0]["error"], "\(lines[0].compactText)")
    }

    /// The items of a list or a log.
    func items(_ method: String, _ parameters: JSONValue? = [:]) async throws -> [JSONValue] {
        let lines = try await call(method, parameters)
        try #require(lines.first?["result"] == ["$responseType": "ndjson"], "\(lines[0].compactText)")
        return Array(lines.dropFirst())
    }

    static func job(_ name: String, log: Bool = true, id: String = "job-1", more: JSONObject = [:]) -> JSONValue {
        var parameters: JSONObject = [
            "job": ["id": .string(id), "type": "backup", "name": .string(name), "mode": "full", "settings": [:]],
            "remotes": [:], "schedule": ["id": "sch-1"], "streamLogs": .bool(log),
        ]
        for member in more.members { parameters[member.name] = member.value }
        return .object(parameters)
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

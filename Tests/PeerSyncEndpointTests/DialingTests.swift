import BackupFormats
import BackupHTTP2
import BackupProtocol
import Listener
import Logging
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import Platform
import Synchronization
import Testing

@testable import PeerSyncEndpoint

/// Answers at the hub's path below `/prefix` with what it was made with, and remembers the requests.
private final class DialedHub: RESTHandler {
    /// nil: the stream goes to ``serve(_:)``.
    private let fixed: RESTResponse?
    let requests = Mutex<[RESTRequest]>([])
    /// What sessions of the hub saw at their end.
    let ends = Mutex<[String]>([])

    init(answer fixed: RESTResponse? = nil) { self.fixed = fixed }

    func bodyLimit(method: String, target: String) -> Int { 1000 }
    func takesStream(method: String, target: String) -> Bool { target.hasSuffix(HTTP2PeerDialer.path) }
    func identify(_ request: RESTRequest) async -> AuthID? { nil }

    func handle(_ request: RESTRequest) async -> RESTAnswer {
        requests.withLock { $0.append(request) }
        if let fixed { return .response(fixed) }
        guard let body = request.stream else { return .response(RESTResponse(status: 505)) }
        let stream = ConnectServerStream(peerAddress: "here", request: body, encoding: .identity)
        Task { stream.end(await serve(stream)) }
        return .response(
            RESTResponse(
                status: 200, headers: [("content-type", StreamHead.contentType)],
                body: .stream(stream.makeAnswer(), length: nil)))
    }

    /// Gives each item back. `trust` raises the limit, `end` ends in order, `refuse` with a code.
    private func serve(_ stream: ConnectServerStream) async -> StreamEnd {
        do {
            while let item = try await stream.receive() {
                switch String(decoding: item.prefix(10), as: UTF8.self) {
                case "trust": stream.trust()
                case "end": return .clean
                case "refuse": return StreamEnd(code: .permissionDenied, message: "no")
                default: break
                }
                try await stream.send(item)
            }
            ends.withLock { $0.append("half closed") }
        } catch {
            ends.withLock { $0.append("\(error)") }
        }
        return .clean
    }
}

@Suite("A dialer of hubs", .serialized)
struct DialingTests {
    private let dialer = HTTP2PeerDialer(log: Logger(label: "test"))

    /// Runs with a listener; the URL that is given ends with the prefix.
    private func withHub(
        _ hub: DialedHub, plain: Bool = false, _ body: (HubAddress, Listener) async throws -> Void
    ) async throws {
        let folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-dialing-")
        defer { try? FileSystem.removeTree(folder) }
        var configuration = ListenerConfiguration(
            address: "127.0.0.1", port: 0, certificate: plain ? .plain : .selfSigned(folder: folder, names: []))
        // However busy the machine is, it must not come to this.
        configuration.stopGrace = .seconds(120)
        configuration.timers.feedGrace = .seconds(120)
        let listener = try Listener(
            configuration: configuration, handler: hub, time: .system, logger: Logger(label: "test"))
        let address = try await listener.start()
        do {
            try await body(
                try HubAddress(parsing: address.url + "/prefix/", fingerprint: address.fingerprint?.description),
                listener)
        } catch {
            await listener.stop()
            throw error
        }
        await listener.stop()
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(
        "exchanges items over TLS and in plain text, with the head of the original's client", arguments: [false, true])
    func exchanges(plain: Bool) async throws {
        let hub = DialedHub()
        try await withHub(hub, plain: plain) { address, _ in
            let stream = try await dialer.dial(address)
            for text in ["first", "second", ""] {
                try await stream.send(bytes(text))
                #expect(try await stream.receive() == bytes(text))
            }
            try await stream.send(bytes("trust"))
            #expect(try await stream.receive() == bytes("trust"))
            stream.trust()
            let large = [UInt8](repeating: 7, count: 3_000_000)
            try await stream.send(large)
            #expect(try await stream.receive() == large)
            try await stream.send(bytes("end"))
            await #expect(throws: StreamEnd.clean) { _ = try await stream.receive() }
            stream.close()

            let request = try #require(hub.requests.withLock { $0.first })
            #expect(request.method == "POST")
            #expect(request.target == "/prefix/v1sync.BackrestSyncService/Sync")
            let sent = Set(request.headers.map { "\($0.name): \($0.value)" })
            #expect(
                sent == [
                    "content-type: application/connect+proto", "connect-protocol-version: 1",
                    "accept-encoding: identity", "user-agent: cairn/\(CairnVersion.text)",
                    "host: 127.0.0.1:\(address.port)",
                ])
        }
    }

    @Test("tells with what the hub has ended a stream, also while items are sent")
    func refused() async throws {
        try await withHub(DialedHub()) { address, _ in
            let stream = try await dialer.dial(address)
            try await stream.send(bytes("refuse"))
            for _ in 0..<100 { try? await stream.send([UInt8](repeating: 1, count: 1000)) }
            await #expect(throws: StreamEnd(code: .permissionDenied, message: "no")) {
                while try await stream.receive() != nil {}
            }
            stream.close()
        }
    }

    @Test("sees an answer that stops without its end as cut")
    func cut() async throws {
        let whole = Envelope(payload: [1, 2, 3]).encoded
        let answer = RESTResponse(
            status: 200, headers: [("content-type", StreamHead.contentType)], body: .bytes(whole))
        try await withHub(DialedHub(answer: answer)) { address, _ in
            let stream = try await dialer.dial(address)
            #expect(try await stream.receive() == [1, 2, 3])
            await #expect(throws: PeerSyncFailure.self) { _ = try await stream.receive() }
            stream.close()
        }
    }

    @Test("takes no large item before the hub is trusted")
    func strangers() async throws {
        try await withHub(DialedHub()) { address, _ in
            let stream = try await dialer.dial(address)
            try await stream.send(bytes("trust"))
            #expect(try await stream.receive() != nil)
            try await stream.send([UInt8](repeating: 1, count: EnvelopeReader.limitOfStrangers + 1))
            let failure = await #expect(throws: PeerSyncFailure.self) { _ = try await stream.receive() }
            #expect(failure?.kind == .tooLarge)
            stream.close()
        }
    }

    @Test("tells the hub when a stream is closed, and its own side when the hub stops")
    func closing() async throws {
        let hub = DialedHub()
        try await withHub(hub) { address, listener in
            let closed = try await dialer.dial(address)
            try await closed.send(bytes("here"))
            #expect(try await closed.receive() == bytes("here"))
            closed.close()
            try await eventually("the session at the hub ends") { hub.ends.withLock { $0.count } == 1 }
            await #expect(throws: (any Error).self) { _ = try await closed.receive() }

            let open = try await dialer.dial(address)
            try await open.send(bytes("here"))
            #expect(try await open.receive() == bytes("here"))
            let stopping = Task { await listener.stop() }
            await #expect(throws: StreamEnd.clean) { _ = try await open.receive() }
            await stopping.value
            #expect(hub.ends.withLock { $0.last?.contains("the server stops") } == true)
        }
    }

    @Test(
        "says what is wrong with a URL behind which no hub answers",
        arguments: [
            (404, [], "has no peer sync there"), (415, [], "Connect"), (505, [], "HTTP/1.1"), (401, [], "login"),
            (302, [("location", "https://other.example/")], "https://other.example/"), (502, [], "cannot answer now"),
            (200, [("content-type", "text/html")], "text/html"), (204, [], "status 204"),
        ] as [(Int, [(String, String)], String)])
    func noHub(status: Int, headers: [(String, String)], expected: String) async throws {
        let answer = RESTResponse(
            status: status, headers: headers.map { (name: $0.0, value: $0.1) }, body: .bytes([1, 2, 3]))
        try await withHub(DialedHub(answer: answer)) { address, _ in
            let stream = try await dialer.dial(address)
            try? await stream.send(bytes("hello"))
            let failure = await #expect(throws: BackupFailure.self) { _ = try await stream.receive() }
            let summary = failure?.summary ?? ""
            #expect(summary.contains(expected) && summary.contains("/prefix"), "\(summary)")
            #expect(failure?.kind == (status == 502 ? .unavailable : .invalidInput))
            stream.close()
        }
    }

    @Test("says what is wrong where scheme, certificate or port do not fit")
    func misfits() async throws {
        try await withHub(DialedHub()) { address, _ in
            // Plain text to a hub with TLS.
            let stream = try await dialer.dial(try HubAddress(parsing: "http://127.0.0.1:\(address.port)"))
            try? await stream.send(bytes("hello"))
            let plain = await #expect(throws: BackupFailure.self) { _ = try await stream.receive() }
            #expect(plain?.kind == .invalidInput)
            #expect(plain?.hints.contains { $0.contains("https://") } == true)
            stream.close()
            // A certificate that nobody knows.
            let unknown = await #expect(throws: BackupFailure.self) {
                _ = try await dialer.dial(try HubAddress(parsing: "https://127.0.0.1:\(address.port)"))
            }
            #expect(unknown?.kind == .notAuthenticated)
            #expect(unknown?.hints.contains { $0.contains(address.fingerprint ?? "?") } == true)
            await #expect(throws: BackupFailure.self) {
                _ = try await dialer.dial(
                    try HubAddress(parsing: "https://127.0.0.1:\(address.port)", fingerprint: "xyz"))
            }
        }
        try await withHub(DialedHub(), plain: true) { address, _ in
            let failure = await #expect(throws: BackupFailure.self) {
                _ = try await dialer.dial(try HubAddress(parsing: "https://127.0.0.1:\(address.port)"))
            }
            #expect(failure?.kind == .unavailable)
            #expect(failure?.hints.contains { $0.contains("http://") } == true)
        }
    }

    @Test("keeps a hundred streams open at once, and a stop ends them all")
    func many() async throws {
        let hub = DialedHub()
        try await withHub(hub, plain: true) { address, listener in
            let streams = try await withThrowingTaskGroup(of: (any PeerStream).self) { group in
                for index in 0..<100 {
                    group.addTask {
                        let stream = try await dialer.dial(address)
                        try await stream.send(bytes("\(index)"))
                        #expect(try await stream.receive() == bytes("\(index)"))
                        return stream
                    }
                }
                return try await group.reduce(into: [any PeerStream]()) { $0.append($1) }
            }
            await listener.stop()
            #expect(hub.ends.withLock { $0.count } == 100)
            for stream in streams {
                await #expect(throws: StreamEnd.clean) { _ = try await stream.receive() }
                stream.close()
            }
        }
    }
}

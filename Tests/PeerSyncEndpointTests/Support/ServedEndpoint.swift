import BackupFormats
import BackupHTTP2
import CairnTestSupport
import Listener
import Logging
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import Platform
import SwiftProtobuf
import Synchronization

@testable import PeerSyncEndpoint

/// An endpoint on a port of this machine, with TLS or in plain text.
final class ServedEndpoint: Sendable {
    let listener: Listener
    let address: ListenerAddress
    private let folder: TemporaryFolder

    var server: ServerAddress { ServerAddress(host: "127.0.0.1", port: address.port) }
    var trust: ServerTrust? { address.fingerprint.map { .fingerprint($0) } }

    init(_ handler: some RESTHandler, plain: Bool = false) async throws {
        folder = try TemporaryFolder()
        var configuration = ListenerConfiguration(
            address: "127.0.0.1", port: 0,
            certificate: plain ? .plain : .selfSigned(folder: folder.path, names: ["test.example"]))
        configuration.stopGrace = .milliseconds(300)
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        listener = try Listener(configuration: configuration, handler: handler, time: .system, logger: log)
        address = try await listener.start()
    }

    /// A request for a stream whose body is still to come.
    func open(_ headers: [(name: String, value: String)] = []) async throws -> DuplexStream {
        let request = HTTPRequest(
            method: "POST", target: PeerCall.sync.rawValue,
            headers: [("content-type", StreamHead.contentType)] + headers)
        return try await DuplexStream.open(request, to: server, trust: trust)
    }

    /// How the hub ends a stream; nil where it is cut.
    func end(of stream: DuplexStream) async throws -> StreamEnd? {
        let messages = IncomingMessages(stream.body, encoding: .identity, takesEnd: true)
        while let message = try await messages.next() {
            if case .end(let bytes) = message { return try StreamEnd(parsing: bytes) }
        }
        return nil
    }

    /// Serves as long as `body` runs.
    static func with(
        _ handler: some RESTHandler, plain: Bool = false, _ body: (ServedEndpoint) async throws -> Void
    ) async throws {
        let served = try await ServedEndpoint(handler, plain: plain)
        do {
            try await body(served)
        } catch {
            await served.listener.stop()
            throw error
        }
        await served.listener.stop()
    }
}

/// A member that a test drives: one session over whatever stream.
final class DrivenMember {
    private let stream: any PeerStream
    private var session: PeerSession
    private var waiting: [PeerItem] = []

    init(
        over stream: any PeerStream, identity: PeerIdentity, name: String, token: PairingToken, secret: String = ""
    ) throws {
        self.stream = stream
        session = PeerSession(
            member: identity, instanceID: name, of: (token.keyID, token.instanceID), pairingSecret: secret,
            privateKey: try HybridPrivateKey())
    }

    /// Exchanges keys and proves both sides.
    func begin() async throws {
        try await stream.send(try session.opening().serializedBytes())
        while session.phase != .established { try await takeOne() }
        stream.trust()
    }

    func send(_ item: PeerItem) async throws { try await stream.send(try session.seal(item).serializedBytes()) }

    /// The next item of the hub; heartbeats are left out.
    func receive() async throws -> PeerItem {
        while true {
            while !waiting.isEmpty {
                let item = waiting.removeFirst()
                if case .heartbeat = item { continue }
                return item
            }
            try await takeOne()
        }
    }

    func close() { stream.close() }

    private func takeOne() async throws {
        guard let bytes = try await stream.receive() else { throw StreamEnd.clean }
        for effect in try session.receive(bytes) {
            switch effect {
            case .send(let item): try await stream.send(try item.serializedBytes())
            case .received(let item): waiting.append(item)
            case .verified, .authorize: continue
            }
        }
    }
}

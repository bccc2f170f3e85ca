import BackupFormats
import BackupProtocol
import Synchronization
import Testing

/// Answers with the number of the call, and notes what happened.
private final class CountingSession: SessionHandler {
    struct Notes {
        var calls = 0
        var running = 0
        var most = 0
        var ends: [ConnectionEnd] = []
        var connection: (any SessionConnection)?
    }
    let notes = Mutex(Notes())

    func admit(_ head: BackupRequestHead) -> BodyAdmission {
        switch head.path {
        case "/refuse": .refuse(.error(400, "no"))
        case "/discard": .discard
        default: .collect(limit: 4, tooLong: .early("too long"))
        }
    }

    func receive(_ request: BackupRequest) -> @Sendable () async -> BackupResponse {
        let number = notes.withLock { notes in
            notes.calls += 1
            return notes.calls
        }
        return { [self] in
            notes.withLock { notes in
                notes.running += 1
                notes.most = max(notes.most, notes.running)
            }
            await Task.yield()
            notes.withLock { $0.running -= 1 }
            return .data([.integer(number), .integer(request.body.count)])
        }
    }

    func attach(_ connection: any SessionConnection) { notes.withLock { $0.connection = connection } }
    func connectionEnded(_ end: ConnectionEnd) async { notes.withLock { $0.ends.append(end) } }
}

@Suite("The transport within a process")
struct InProcessTransportTests {
    static func request(_ path: String, _ body: [UInt8] = []) -> BackupRequest {
        BackupRequest(head: BackupRequestHead(method: "GET", path: path), body: body)
    }

    static func text(_ response: BackupResponse) async throws -> String {
        String(decoding: try await response.collect(limit: 1000), as: UTF8.self)
    }

    @Test("treats bodies as the session says")
    func bodies() async throws {
        let transport = InProcessTransport(CountingSession())
        #expect(try await Self.text(transport.send(Self.request("/x", [1, 2]))) == #"{"data":[1,2]}"#)
        #expect(try await Self.text(transport.send(Self.request("/x", [1, 2, 3, 4, 5]))) == "too long")
        #expect(try await Self.text(transport.send(Self.request("/discard", [1]))) == #"{"data":[2,0]}"#)
        #expect(try await Self.text(transport.send(Self.request("/refuse"))) == "no")
    }

    @Test("runs no more calls at once than it may")
    func bound() async throws {
        let session = CountingSession()
        let transport = InProcessTransport(session, concurrentCalls: 3)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 { group.addTask { _ = try await transport.send(Self.request("/x")) } }
            try await group.waitForAll()
        }
        #expect(session.notes.withLock { $0.calls } == 100)
        #expect(session.notes.withLock { $0.most } <= 3)
    }

    @Test("ends once, whoever ends it, and takes no calls then")
    func ends() async throws {
        let session = CountingSession()
        let transport = InProcessTransport(session)
        session.notes.withLock { $0.connection }?.close(reason: "aborted")
        await transport.close()
        #expect(session.notes.withLock { $0.ends } == [.lost(reason: "aborted")])
        await #expect(throws: BackupFailure.self) { try await transport.send(Self.request("/x")) }
    }
}

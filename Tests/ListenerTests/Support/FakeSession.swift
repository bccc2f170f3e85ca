import BackupFormats
import BackupProtocol
import NIOConcurrencyHelpers

/// A session that remembers what it was told. Its endpoints:
/// `/echo` gives the body back, `/count` its length, `/discard` drops it, `/refuse` takes none, `/tiny` takes ten bytes,
/// `/wait` answers when told to, `/stream?n` sends n bytes as a stream, `/broken` stops in the middle of one.
final class FakeSession: SessionHandler {
    struct Record {
        var connection: (any SessionConnection)?
        var arrivals: [String] = []
        var end: ConnectionEnd?
        var ends = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
        var isOpen = false
    }

    let record = NIOLockedValueBox(Record())
    /// How long cleaning up takes.
    let cleanUp: Duration

    init(cleanUp: Duration = .zero) { self.cleanUp = cleanUp }

    static func text(_ status: Int, _ text: String) -> BackupResponse {
        BackupResponse(status: status, contentType: BackupResponse.jsonType, body: .bytes(Array(text.utf8)))
    }

    func admit(_ head: BackupRequestHead) -> BodyAdmission {
        switch head.path {
        case "/refuse": .refuse(Self.text(400, "refused"))
        case "/discard": .discard
        case "/tiny": .collect(limit: 10, tooLong: Self.text(400, "too long"))
        default: .collect(limit: SessionLimits.blobBytes, tooLong: Self.text(400, "too long"))
        }
    }

    func receive(_ request: BackupRequest) -> @Sendable () async -> BackupResponse {
        record.withLockedValue {
            $0.arrivals.append("\(request.head.method) \(request.head.path)?\(request.head.query)")
        }
        return { await self.answer(request) }
    }

    private func answer(_ request: BackupRequest) async -> BackupResponse {
        switch request.head.path {
        case "/echo":
            return BackupResponse(status: 200, contentType: BackupResponse.octetStream, body: .bytes(request.body))
        case "/stream":
            let source = CountedSource(bytes: Int(request.head.query) ?? 0)
            return BackupResponse(
                status: 200, contentType: BackupResponse.octetStream, body: .stream(source, length: nil))
        case "/broken":
            let source = CountedSource(bytes: 1_000_000, failsAt: 500_000)
            return BackupResponse(
                status: 200, contentType: BackupResponse.octetStream, body: .stream(source, length: nil))
        case "/wait":
            await withCheckedContinuation { continuation in
                let isOpen = record.withLockedValue { record in
                    if !record.isOpen { record.waiters.append(continuation) }
                    return record.isOpen
                }
                if isOpen { continuation.resume() }
            }
            return Self.text(200, "waited")
        default: return Self.text(200, "\(request.body.count)")
        }
    }

    /// Lets all calls of `/wait` go on.
    func open() {
        let waiters = record.withLockedValue { record in
            record.isOpen = true
            defer { record.waiters = [] }
            return record.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func attach(_ connection: any SessionConnection) { record.withLockedValue { $0.connection = connection } }

    func connectionEnded(_ end: ConnectionEnd) async {
        try? await Task.sleep(for: cleanUp)
        record.withLockedValue {
            $0.end = end
            $0.ends += 1
        }
    }

    var arrivals: [String] { record.withLockedValue { $0.arrivals } }

    /// Waits until the session has ended, at most a minute.
    func ended() async -> ConnectionEnd? {
        for _ in 0..<6000 {
            if let end = record.withLockedValue({ $0.end }) { return end }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }
}

/// So many bytes, each its position modulo 251.
final class CountedSource: ByteSource {
    struct Failure: Error {}

    /// Longer than any piece that is asked for.
    private static let pattern = (0..<(1024 * 1024)).map { UInt8($0 % 251) }

    private let bytes: Int
    private let failsAt: Int?
    private let position = NIOLockedValueBox(0)

    init(bytes: Int, failsAt: Int? = nil) {
        self.bytes = bytes
        self.failsAt = failsAt
    }

    var given: Int { position.withLockedValue { $0 } }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let (start, end) = position.withLockedValue { position in
            let start = position
            position = min(bytes, position + maxBytes)
            return (start, position)
        }
        if let failsAt, end > failsAt { throw Failure() }
        if start == end { return nil }
        let offset = start % 251
        return Array(Self.pattern[offset..<(offset + end - start)])
    }
}

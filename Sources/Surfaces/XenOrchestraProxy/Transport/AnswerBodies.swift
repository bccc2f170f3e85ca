import BackupFormats
import Synchronization
import Tasks

/// A piece of an answer that is made while it is sent.
enum AnswerPiece: Sendable {
    case bytes([UInt8])
    /// Nothing came for the time of the keep-alive, and more will come: a blank may stand here.
    case silence
    case end
}

/// Gives an answer piece by piece.
protocol AnswerPieces: Sendable {
    /// The next piece; ``AnswerPiece/silence`` where none came for `interval`.
    func next(within interval: Duration) async throws -> AnswerPiece
}

/// Pieces as a body, with a blank where nothing else came for so long: whoever waits must see that the connection
/// lives. (Spec: xo-proxy §1.6.)
final class KeptAliveBody: ByteSource {
    private let pieces: any AnswerPieces
    /// Nil where no blanks are wanted.
    private let interval: Duration?
    /// What did not fit into the piece before.
    private let rest = Mutex<ArraySlice<UInt8>>([])

    init(_ pieces: any AnswerPieces, interval: Duration?) {
        self.pieces = pieces
        self.interval = interval
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if let left = take(maxBytes) { return left }
        while true {
            switch try await pieces.next(within: interval ?? .seconds(86400)) {
            case .bytes(let bytes) where !bytes.isEmpty:
                rest.withLock { $0 = bytes[...] }
                return take(maxBytes)
            case .bytes: continue
            case .silence: if interval != nil { return [UInt8(ascii: " ")] }
            case .end: return nil
            }
        }
    }

    private func take(_ count: Int) -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
    }
}

/// The lines of a log: the header at once, then each event, to the root's end.
struct LogPieces: AnswerPieces {
    let header: [UInt8]
    let stream: TaskStream
    let format: LogFormat
    let isModern: Bool
    private let hasBegun = Flag()

    init(header: [UInt8], stream: TaskStream, format: LogFormat, isModern: Bool) {
        self.header = header
        self.stream = stream
        self.format = format
        self.isModern = isModern
    }

    func next(within interval: Duration) async throws -> AnswerPiece {
        if hasBegun.raise() { return .bytes(header) }
        switch try await stream.next(within: interval) {
        case .events(let events):
            return .bytes(events.compactMap { format.json($0, isModern: isModern) }.flatMap { RPCAnswer.line($0) })
        case .silence: return .silence
        case .end: return .end
        }
    }
}

/// The lines of a list: the header, then the items as they come. Without blanks: it is not known whether another item
/// follows, and blanks behind the last one would break the caller's reader.
struct ListPieces: AnswerPieces {
    /// Items are sent together up to about so many bytes.
    private static let pieceBytes = 64 << 10

    let header: [UInt8]
    let items: @Sendable () async throws -> JSONValue?
    private let hasBegun = Flag()

    init(header: [UInt8], items: @escaping @Sendable () async throws -> JSONValue?) {
        self.header = header
        self.items = items
    }

    func next(within interval: Duration) async throws -> AnswerPiece {
        if hasBegun.raise() { return .bytes(header) }
        var bytes: [UInt8] = []
        while bytes.count < Self.pieceBytes, let item = try await items() {
            try Task.checkCancellation()
            bytes += RPCAnswer.line(item)
        }
        return bytes.isEmpty ? .end : .bytes(bytes)
    }
}

/// An answer that takes longer than a caller waits for the head: blanks, then what it has become.
final class LatePieces: AnswerPieces {
    private let value: LateValue<Outcome>
    /// Ended when nobody reads any more; nil where the work shall go on then.
    private let work: Task<Void, Never>?
    private let render: @Sendable (Result<Outcome, any Error>) -> any AnswerPieces
    private let rendered = Mutex<(any AnswerPieces)?>(nil)

    init(
        _ value: LateValue<Outcome>, ending work: Task<Void, Never>?,
        render: @escaping @Sendable (Result<Outcome, any Error>) -> any AnswerPieces
    ) {
        self.value = value
        self.work = work
        self.render = render
    }

    deinit { work?.cancel() }

    func next(within interval: Duration) async throws -> AnswerPiece {
        if let rendered = rendered.withLock({ $0 }) { return try await rendered.next(within: interval) }
        guard let outcome = await value.get(within: interval) else {
            if Task.isCancelled { work?.cancel() }
            try Task.checkCancellation()
            return .silence
        }
        let pieces = render(outcome)
        rendered.withLock { $0 = pieces }
        return try await pieces.next(within: interval)
    }
}

/// Bytes that are there already.
struct WholePieces: AnswerPieces {
    let bytes: [UInt8]
    private let hasBegun = Flag()

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func next(within interval: Duration) async throws -> AnswerPiece { hasBegun.raise() ? .bytes(bytes) : .end }
}

/// Something that happens once.
private final class Flag: Sendable {
    private let isRaised = Atomic(false)

    /// - Returns: Whether it was not raised before.
    func raise() -> Bool { !isRaised.exchange(true, ordering: .relaxed) }
}

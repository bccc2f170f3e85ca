import BackupFormats
import NIOConcurrencyHelpers

/// An answer that gives back what the request brings while it brings it, and `over` when that breaks off.
///
/// Modes: `once` ends after the first piece; `deaf` says `deaf` and never reads until it is told to; `stubborn` goes on
/// when the request has broken off.
final class FakeTalk: ByteSource {
    struct Record {
        var taken = 0
        var failure: (any Error)?
        var hasEnded = false
        var isCancelled = false
        var mayRead = false
        var saidDeaf = false
        var isOver = false
    }

    let record = NIOLockedValueBox(Record())
    private let stream: any ByteSource
    private let mode: String

    init(_ stream: any ByteSource, mode: String) {
        self.stream = stream
        self.mode = mode
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        do {
            return try await next(upTo: maxBytes)
        } catch is CancellationError {
            record.withLockedValue { $0.isCancelled = true }
            throw CancellationError()
        }
    }

    private func next(upTo maxBytes: Int) async throws -> [UInt8]? {
        if record.withLockedValue({ $0.isOver }) { return nil }
        if mode == "once", record.withLockedValue({ $0.taken > 0 }) { return nil }
        if mode == "deaf" {
            let isFirst = record.withLockedValue { record in
                defer { record.saidDeaf = true }
                return !record.saidDeaf
            }
            if isFirst { return Array("deaf".utf8) }
            while !record.withLockedValue({ $0.mayRead }) { try await Task.sleep(for: .milliseconds(5)) }
        }
        do {
            guard let piece = try await stream.read(upTo: maxBytes) else {
                record.withLockedValue { $0.hasEnded = true }
                return nil
            }
            record.withLockedValue { $0.taken += piece.count }
            return piece
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            record.withLockedValue {
                $0.failure = error
                $0.isOver = true
            }
            if mode == "stubborn" { try await Task.sleep(for: .seconds(600)) }
            return Array("over".utf8)
        }
    }

    /// Waits until the record is as wanted, at most a minute.
    func waits(until isWanted: (Record) -> Bool) async -> Bool {
        for _ in 0..<12_000 {
            if record.withLockedValue({ isWanted($0) }) { return true }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return false
    }
}

import BackupFormats

/// Takes exact counts of bytes from the front of a source.
///
/// Holds at most one piece of the source beside what it is asked for.
final class ForwardReader {
    /// The source ended where more bytes must follow.
    struct Ended: Error, CustomStringConvertible {
        let position: UInt64

        var description: String { "the stream ends after \(position) bytes" }
    }

    private static let pieceBytes = 64 << 10

    private let source: any ByteSource
    private var piece: [UInt8] = []
    /// Bytes of `piece` that were taken.
    private var taken = 0
    /// Bytes taken so far.
    private(set) var position: UInt64 = 0

    init(_ source: any ByteSource) { self.source = source }

    /// The next `count` bytes. Compare a count that comes from the input with a limit before.
    ///
    /// - Throws: ``Ended`` where the source has fewer, and what the source throws.
    nonisolated(nonsending) func read(_ count: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        try await read(count, into: &bytes)
        return bytes
    }

    /// Appends the next `count` bytes.
    nonisolated(nonsending) func read(_ count: Int, into bytes: inout [UInt8]) async throws {
        var missing = count
        while missing > 0 {
            let some = try await available(missing)
            guard some > 0 else { throw Ended(position: position) }
            bytes.append(contentsOf: piece[taken..<taken + some])
            advance(some)
            missing -= some
        }
    }

    /// Moves past bytes.
    nonisolated(nonsending) func skip(to target: UInt64) async throws {
        while position < target {
            let some = try await available(Int(min(target - position, UInt64(Self.pieceBytes))))
            guard some > 0 else { throw Ended(position: position) }
            advance(some)
        }
    }

    /// Reads to the end of the source and returns its last bytes, at most `count`.
    nonisolated(nonsending) func readToEnd(keepingLast count: Int) async throws -> [UInt8] {
        var tail: [UInt8] = []
        while true {
            let some = try await available(Self.pieceBytes)
            guard some > 0 else { return tail }
            if some >= count {
                tail = Array(piece[taken + some - count..<taken + some])
            } else {
                tail.append(contentsOf: piece[taken..<taken + some])
                if tail.count > count { tail.removeFirst(tail.count - count) }
            }
            advance(some)
        }
    }

    /// Reads to the end of the source, or until `limit` bytes are there.
    nonisolated(nonsending) func readToEnd(limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < limit {
            let some = try await available(limit - bytes.count)
            guard some > 0 else { break }
            bytes.append(contentsOf: piece[taken..<taken + some])
            advance(some)
        }
        return bytes
    }

    /// How many bytes, at most `wanted`, can be taken now; 0 at the end of the source.
    private nonisolated(nonsending) func available(_ wanted: Int) async throws -> Int {
        if taken == piece.count {
            piece = []
            taken = 0
            guard let next = try await source.read(upTo: max(wanted, Self.pieceBytes)) else { return 0 }
            piece = next
        }
        return min(wanted, piece.count - taken)
    }

    private func advance(_ count: Int) {
        taken += count
        position += UInt64(count)
    }
}

import BackupFormats
import Platform
import Synchronization

/// Memory for the plain content of one chunk. One owner at a time changes it, and what has been handed on is only read.
///
/// Each has room for the largest chunk, of which only the pages that were touched take memory.
package final class ChunkBuffer: @unchecked Sendable {
    package static let capacity = BlobLimits.maxChunkContent
    /// Touched pages that an empty buffer keeps: most chunks fit, and a few long ones do not blow up all buffers.
    package static let keptBytes = 8 << 20

    private let memory = PageMemory(byteCount: capacity)
    package private(set) var count = 0
    /// Bytes that take memory, whether they hold content now or not.
    package private(set) var touchedBytes = 0

    package init() {}

    /// What has been written so far. Valid as long as the buffer is not changed and lives.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory.base, count: count) }

    /// Adds bytes; there must be room for them.
    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        precondition(bytes.count <= Self.capacity - count, "no cutter makes a chunk above the limit")
        (memory.base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
        touchedBytes = max(touchedBytes, count)
    }

    /// Lets `body` write up to `byteCount` bytes at the front and say how many it wrote.
    package func fill<Failure: Error>(
        _ byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) {
        let room = min(byteCount, Self.capacity)
        count = min(room, try body(UnsafeMutableRawBufferPointer(start: memory.base, count: room)))
        touchedBytes = max(touchedBytes, room)
    }

    package func clear() {
        count = 0
        guard touchedBytes > Self.keptBytes else { return }
        memory.discard(from: Self.keptBytes)
        touchedBytes = Self.keptBytes
    }
}

/// Finds out whether bytes are all zero. Content that is not is found out at its first word, as a rule.
enum ZeroBytes {
    static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var offset = 0
        while offset + 64 <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self) != .zero { return false }
            offset += 64
        }
        return bytes[offset...].allSatisfy { $0 == 0 }
    }
}

/// Buffers that wait for their next chunk, so that memory is touched once and not given back to the kernel.
package final class ChunkBufferPool: Sendable {
    /// Touched bytes that are kept; buffers that come back beyond are freed.
    package static let keptBytes = 80 << 20

    private struct State: Sendable {
        var buffers: [ChunkBuffer] = []
        var bytes = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// An empty buffer.
    package func take() -> ChunkBuffer {
        let kept = state.withLock { state in
            let buffer = state.buffers.popLast()
            state.bytes -= buffer?.touchedBytes ?? 0
            return buffer
        }
        return kept ?? ChunkBuffer()
    }

    package func giveBack(_ buffer: ChunkBuffer) {
        buffer.clear()
        state.withLock { state in
            guard state.bytes + buffer.touchedBytes <= Self.keptBytes else { return }
            state.bytes += buffer.touchedBytes
            state.buffers.append(buffer)
        }
    }
}

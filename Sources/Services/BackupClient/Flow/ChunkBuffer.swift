import Synchronization

/// Memory for the plain content of one chunk. It grows as it is filled; one owner at a time changes it, and what has
/// been handed on is only read.
package final class ChunkBuffer: @unchecked Sendable {
    private var base: UnsafeMutableRawPointer
    package private(set) var capacity: Int
    package private(set) var count = 0

    package init(capacity: Int) {
        self.capacity = max(capacity, 64)
        base = .allocate(byteCount: self.capacity, alignment: 64)
    }

    deinit { base.deallocate() }

    /// What has been written so far. Valid as long as the buffer is not changed and lives.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        reserve(count + bytes.count)
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    /// Lets `body` write up to `byteCount` bytes at the front and say how many it wrote.
    package func fill<Failure: Error>(
        _ byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) {
        count = 0
        reserve(byteCount)
        count = min(byteCount, try body(UnsafeMutableRawBufferPointer(start: base, count: byteCount)))
    }

    package func clear() { count = 0 }

    private func reserve(_ needed: Int) {
        guard needed > capacity else { return }
        let grown = max(needed, capacity * 2)
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 64)
        fresh.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = fresh
        capacity = grown
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
    /// Bytes of capacity that are kept; what comes back beyond is freed.
    package static let keptBytes = 48 << 20
    /// Buffers that have grown beyond this are freed, so that a few long chunks do not blow up all buffers.
    package static let keptBufferBytes = 8 << 20

    private struct State: Sendable {
        var buffers: [ChunkBuffer] = []
        var bytes = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// An empty buffer.
    package func take(capacity: Int) -> ChunkBuffer {
        let kept = state.withLock { state in
            let buffer = state.buffers.popLast()
            state.bytes -= buffer?.capacity ?? 0
            return buffer
        }
        return kept ?? ChunkBuffer(capacity: capacity)
    }

    package func giveBack(_ buffer: ChunkBuffer) {
        guard buffer.capacity <= Self.keptBufferBytes else { return }
        buffer.clear()
        state.withLock { state in
            guard state.bytes + buffer.capacity <= Self.keptBytes else { return }
            state.bytes += buffer.capacity
            state.buffers.append(buffer)
        }
    }
}

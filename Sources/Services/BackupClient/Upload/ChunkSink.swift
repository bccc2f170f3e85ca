import BackupFormats
import Chunking

/// Takes a stream in pieces of any size and cuts it into chunks. Used by one thread.
package final class ChunkSink {
    private var cutter: any Cutter
    private let buffers: ChunkBufferPool
    private let submit: (ChunkBuffer, UInt64) throws -> Void
    private var current: ChunkBuffer?
    /// Bytes in chunks that were handed on.
    private var offset: UInt64 = 0

    /// - Parameter submit: Takes each chunk with its offset in the stream; may block.
    init(cutter: any Cutter, buffers: ChunkBufferPool, submit: @escaping (ChunkBuffer, UInt64) throws -> Void) {
        self.cutter = cutter
        self.buffers = buffers
        self.submit = submit
    }

    /// Continues the stream. Blocks while too much is on its way.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let cut = cutter.nextCut(in: rest)
            let buffer = current ?? buffers.take()
            current = buffer
            buffer.append(UnsafeRawBufferPointer(rebasing: rest[..<(cut ?? rest.count)]))
            rest = UnsafeRawBufferPointer(rebasing: rest[(cut ?? rest.count)...])
            if cut != nil { try handOn() }
        }
    }

    package func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try write($0) }
    }

    /// The stream is at its end: what is left is the last chunk.
    func finish() throws {
        if let current, current.count > 0 { try handOn() }
    }

    private func handOn() throws {
        guard let buffer = current else { return }
        current = nil
        let start = offset
        offset += UInt64(buffer.count)
        try submit(buffer, start)
    }
}

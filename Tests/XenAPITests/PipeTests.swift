import NIOCore
import Testing

@testable import XenAPI

@Suite("A pipe")
struct PipeTests {
    @Test("carries bytes in order, in pieces of any size, and waits on both sides")
    func order() async throws {
        let pipe = BytePipe(limit: 1000)
        let data = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let writer = Task {
            var offset = 0
            var step = 1
            while offset < data.count {
                let end = min(data.count, offset + step)
                try await pipe.write(ByteBuffer(bytes: data[offset..<end]))
                offset = end
                step = step * 3 % 2500 + 1
            }
            pipe.end()
        }
        var result: [UInt8] = []
        var step = 1
        while let piece = try await pipe.read(upTo: step) {
            #expect((1...step).contains(piece.count))
            result += piece
            step = step * 5 % 1999 + 1
        }
        try await writer.value
        #expect(result == data)
    }

    @Test("counts a writer as idle only while there is room, and a reader only while there is something")
    func idle() async throws {
        let pipe = BytePipe(limit: 10)
        let writer = Task { try await pipe.write(ByteBuffer(repeating: 1, count: 10)) }
        while pipe.writerIdle > .zero { try await Task.sleep(for: .milliseconds(1)) }
        try await Task.sleep(for: .milliseconds(20))
        #expect(pipe.writerIdle == .zero)
        #expect(pipe.readerIdle >= .milliseconds(20))
        _ = try await pipe.read(upTo: 10)
        try await writer.value
        try await Task.sleep(for: .milliseconds(20))
        #expect(pipe.writerIdle >= .milliseconds(20))
        let reader = Task { try await pipe.read(upTo: 1) }
        while pipe.readerIdle > .zero { try await Task.sleep(for: .milliseconds(1)) }
        pipe.end()
        #expect(try await reader.value == nil)
        #expect(pipe.writerIdle == .zero)
    }

    @Test("gives what was written before a failure, then the failure")
    func failure() async throws {
        let pipe = BytePipe(limit: 10)
        try await pipe.write(ByteBuffer(bytes: [1, 2]))
        pipe.end(ChannelError.eof)
        pipe.end()
        #expect(try await pipe.read(upTo: 9) == [1, 2])
        await #expect(throws: ChannelError.self) { try await pipe.read(upTo: 9) }
    }

    @Test("lets both sides go when one is cancelled or gone")
    func cancellation() async throws {
        let pipe = BytePipe(limit: 10)
        let reader = Task { try await pipe.read(upTo: 1) }
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
        let writer = Task { try await pipe.write(ByteBuffer(repeating: 1, count: 20)) }
        while pipe.writerIdle > .zero { try await Task.sleep(for: .milliseconds(1)) }
        pipe.abandon()
        await #expect(throws: CancellationError.self) { try await writer.value }
        await #expect(throws: CancellationError.self) { try await pipe.write(ByteBuffer(bytes: [1])) }
        await #expect(throws: CancellationError.self) { try await pipe.read(upTo: 1) }
    }
}

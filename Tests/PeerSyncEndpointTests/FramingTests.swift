import BackupFormats
import BlobCoding
import CairnTestSupport
import Foundation
import PeerSyncProtocol
import SwiftProtobuf
import Synchronization
import Testing

@testable import PeerSyncEndpoint

/// Bytes that are there, given in pieces of `step`.
final class Pieces: ByteSource {
    private let rest: Mutex<ArraySlice<UInt8>>
    private let step: Int

    init(_ bytes: [UInt8], step: Int = .max) {
        rest = Mutex(bytes[...])
        self.step = step
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(min(step, maxBytes)) }
            return Array(rest.prefix(min(step, maxBytes)))
        }
    }
}

/// Nothing ever comes.
struct Silence: ByteSource {
    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        try await Task.sleep(for: .seconds(3600))
        return nil
    }
}

/// Waits for something that others bring about.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    for _ in 0..<6000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("it never came: \(what)")
    throw CancellationError()
}

@Suite("Messages of a Connect stream", .timeLimit(.minutes(5)))
struct FramingTests {
    @Test("are read as the recorded ones are meant, in one piece and byte by byte", arguments: [1, 7, .max])
    func vectors(step: Int) async throws {
        let json = try JSONValue(
            parsing: Array(Data(contentsOf: Fixtures.url("backrest/connect_envelopes.json"))))
        let samples = try #require(json["samples"]?.arrayValue)
        #expect(samples.count == 16)
        for sample in samples {
            let name = try #require(sample["name"]?.stringValue)
            let bytes = try #require(sample["hex"]?.stringValue.flatMap { Hex.decode($0) })
            let isValid = sample["valid"]?.boolValue ?? true
            let messages = IncomingMessages(Pieces(bytes, step: step), encoding: .gzip, takesEnd: true)
            do {
                let message = try #require(try await messages.next())
                #expect(isValid, "\(name)")
                #expect(try await messages.next() == nil, "\(name)")
                try check(message, name, bytes)
            } catch is PeerSyncFailure {
                #expect(!isValid, "\(name)")
            }
        }
    }

    /// A compressed sample must hold what the plain one of the same name holds: an item, or an end.
    private func check(_ message: IncomingMessages.Message, _ name: String, _ bytes: [UInt8]) throws {
        switch message {
        case .end(let json):
            let end = try StreamEnd(parsing: json)
            #expect((end == .clean) == name.contains("success"), "\(name)")
        case .message(let item):
            let parsed = try WireSyncStreamItem(serializedBytes: item)
            #expect((parsed.action == nil) == name.contains("no action"), "\(name)")
            if bytes[0] == 0 { #expect(Array(bytes.dropFirst(5)) == item, "\(name)") }
        }
    }

    @Test("that are marked as compressed need an encoding, and a clean end needs a hub")
    func refusals() async throws {
        let zipped = Envelope(payload: try #require(Gzip.compress([1, 2, 3])), isCompressed: true).encoded
        await expect(.protocolError, zipped, encoding: .identity)
        await expect(.protocolError, Envelope(payload: Array("{}".utf8), isEnd: true).encoded, takesEnd: false)
        #expect(throws: PeerSyncFailure.self) { try MessageEncoding(field: "br") }
        #expect(try MessageEncoding(field: nil) == .identity)
    }

    @Test("that grow beyond the limit are refused, whatever they say of themselves")
    func bombs() async throws {
        let bomb = try #require(Gzip.compress([UInt8](repeating: 0, count: EnvelopeReader.limitOfStrangers + 1)))
        await expect(.tooLarge, Envelope(payload: bomb, isCompressed: true).encoded)
        // It claims a length that deflate cannot reach, and one that is too small.
        let claimed = Array(bomb.dropLast(4))
        await expect(
            .tooLarge, Envelope(payload: claimed + [0, 0, 0, 0xff], isCompressed: true).encoded, limit: 1 << 20)
        await expect(.protocolError, Envelope(payload: claimed + [9, 0, 0, 0], isCompressed: true).encoded)
        await expect(.tooLarge, [0, 0xff, 0xff, 0xff, 0xff])
        await expect(.tooLarge, [0, 0, 1, 0, 1])
    }

    private func expect(
        _ kind: PeerSyncFailure.Kind, _ bytes: [UInt8], encoding: MessageEncoding = .gzip, takesEnd: Bool = true,
        limit: Int = EnvelopeReader.limitOfStrangers
    ) async {
        let messages = IncomingMessages(Pieces(bytes), encoding: encoding, takesEnd: takesEnd, limit: limit)
        do {
            let message = try await messages.next()
            Issue.record("accepted: \(String(describing: message))")
        } catch {
            #expect((error as? PeerSyncFailure)?.kind == kind, "\(error)")
        }
    }

    @Test("go through a bounded queue in order, and arrive as they were")
    func queue() async throws {
        let outgoing = OutgoingMessages()
        let incoming = IncomingMessages(outgoing, encoding: .identity, takesEnd: true, limit: 1 << 20)
        let sizes = (0..<600).map { ($0 * 37) % 5000 } + [300_000, 0]
        async let sent: Void = {
            for (index, size) in sizes.enumerated() {
                try await outgoing.send([UInt8](repeating: UInt8(truncatingIfNeeded: index), count: size))
            }
            outgoing.finish(with: StreamEnd.clean.encoded)
        }()
        for (index, size) in sizes.enumerated() {
            let expected = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: size)
            #expect(try await incoming.next() == .message(expected))
        }
        #expect(try await incoming.next() == .end(Array("{}".utf8)))
        #expect(try await incoming.next() == nil)
        try await sent
    }

    @Test("that nobody takes end the stream when the queue is full")
    func slowReader() async throws {
        let outgoing = OutgoingMessages(patience: .milliseconds(50))
        var sent = 0
        do {
            while true {
                try await outgoing.send([UInt8](repeating: 7, count: 1000))
                sent += 1
            }
        } catch { #expect("\(error)".contains("taken nothing")) }
        #expect(sent == OutgoingMessages.maxWaiting)
        await #expect(throws: PeerSyncFailure.self) { try await outgoing.read(upTo: 1) }
    }

    @Test("reach a session and come from it until one of the sides has enough")
    func server() async throws {
        let stream = ConnectServerStream(
            peerAddress: "192.0.2.1", request: Pieces(Envelope(payload: [1]).encoded + Envelope(payload: []).encoded),
            encoding: .identity)
        let answer = IncomingMessages(stream.makeAnswer(), encoding: .identity, takesEnd: true)
        #expect(try await stream.receive() == [1])
        #expect(try await stream.receive() == [])
        #expect(try await stream.receive() == nil)
        try await stream.send([2])
        stream.end(StreamEnd(code: .aborted, message: "enough"))
        #expect(try await answer.next() == .message([2]))
        guard case .end(let end)? = try await answer.next() else { throw CancellationError() }
        #expect(try StreamEnd(parsing: end).code == .aborted)
        await #expect(throws: (any Error).self) { try await stream.send([3]) }
        await #expect(throws: (any Error).self) { try await stream.receive() }
    }

    @Test("broken off by its peer is lost, and no failure of this server")
    func lost() async {
        let stream = ConnectServerStream(peerAddress: "", request: BrokenOff(), encoding: .identity)
        await #expect(throws: StreamLost.self) { () async throws -> Void in _ = try await stream.receive() }
    }

    @Test("end for a session that waits when its answer is let go of")
    func abandoned() async throws {
        let stream = ConnectServerStream(peerAddress: "", request: Silence(), encoding: .identity)
        let ended = Mutex(false)
        var answer: (any ByteSource)? = stream.makeAnswer { ended.withLock { $0 = true } }
        let received = Task { try await stream.receive() }
        #expect(answer != nil)
        answer = nil
        await #expect(throws: (any Error).self) { try await received.value }
        #expect(ended.withLock { $0 })
    }

    @Test("of a hub come to the member with its end, and their lack is told from it")
    func client() async throws {
        let served = OutgoingMessages()
        let written = OutgoingMessages()
        let resets = Mutex(0)
        let stream = ConnectClientStream(
            peerAddress: "hub", answer: { (served, .identity) }, write: { try await written.send($0) },
            reset: { resets.withLock { $0 += 1 } })
        try await stream.send([5])
        let request = IncomingMessages(written, encoding: .identity, takesEnd: false)
        guard case .message(let bytes)? = try await request.next() else { throw CancellationError() }
        #expect(bytes == Envelope(payload: [5]).encoded)
        try await served.send([6])
        #expect(try await stream.receive() == [6])
        served.finish(with: StreamEnd(code: .permissionDenied, message: "no").encoded)
        await #expect(throws: StreamEnd(code: .permissionDenied, message: "no")) { try await stream.receive() }
        await #expect(throws: PeerSyncFailure.self) { try await stream.receive() }
        stream.close()
        #expect(resets.withLock { $0 } > 0)
    }
}

/// A request whose carrier fails.
private struct BrokenOff: ByteSource {
    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        throw BackupFailure(.unavailable, "the client broke the stream off")
    }
}

import BackupFormats
import BackupProtocol
import BlobCoding
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import Synchronization
import Testing

@testable import PeerSyncEndpoint

@Suite("The stream of members", .timeLimit(.minutes(5)))
struct SyncSurfaceTests {
    @Test("is there for POST with binary messages of Connect over HTTP/2, and says so to all others")
    func heads() async throws {
        let world = try await EndpointWorld()
        let type = "application/connect+proto"
        let get = try await world.response(EndpointWorld.syncRequest(method: "GET"))
        #expect(get.status == 405 && get.header("allow") == "POST")
        for other in ["application/grpc", "application/grpc+proto", "application/connect+json", "application/proto"] {
            let response = try await world.response(EndpointWorld.syncRequest([("content-type", other)]))
            #expect(response.status == 415 && response.header("accept-post") == type, "\(other)")
        }
        #expect(try await world.response(EndpointWorld.syncRequest([])).status == 415)
        let old = try await world.response(EndpointWorld.syncRequest(isHTTP2: false, stream: nil))
        #expect(old.status == 505 && old.header("connection") == "close")
        let unknown = try await world.response(
            EndpointWorld.syncRequest(path: "/v1sync.BackrestSyncService/Sunk"))
        #expect(unknown.status == 404 && unknown.header("content-type")?.hasPrefix("text/plain") == true)
        for (field, value, code) in [
            ("connect-protocol-version", "2", StreamEnd.Code.invalidArgument),
            ("connect-content-encoding", "br", .unimplemented), ("connect-timeout-ms", "12345678901", .invalidArgument),
            ("connect-timeout-ms", "soon", .invalidArgument), ("connect-timeout-ms", "-1", .invalidArgument),
            ("connect-timeout-ms", "", .invalidArgument),
        ] {
            let response = try await world.response(
                EndpointWorld.syncRequest([("content-type", type), (field, value)]))
            #expect(try await EndpointWorld.end(response).code == code, "\(field): \(value)")
        }
        #expect(world.hub.counts.withLock { $0.begun } == 0)
    }

    @Test("goes both ways, takes compressed messages, and ends as the hub says")
    func echo() async throws {
        let world = try await EndpointWorld(serve: ScriptedHub.echo)
        let zipped = try #require(Gzip.compress([4, 5, 6]))
        let bytes = Envelope(payload: [1]).encoded + Envelope(payload: zipped, isCompressed: true).encoded
        let response = try await world.response(
            EndpointWorld.syncRequest(
                [
                    ("content-type", "application/connect+proto; x=y"), ("connect-protocol-version", "1"),
                    ("connect-content-encoding", "gzip"), ("connect-accept-encoding", "gzip"),
                ], stream: Pieces(bytes)))
        #expect(response.header("connect-content-encoding") == nil)
        let answer = try EndpointWorld.messages(response)
        #expect(try await answer.next() == .message([1]))
        #expect(try await answer.next() == .message([4, 5, 6]))
        #expect(try await answer.next() == .end(StreamEnd.clean.encoded))
        #expect(try await answer.next() == nil)
    }

    @Test("refuses what is too large, before and after it is decompressed, and what is no message")
    func hostile() async throws {
        let world = try await EndpointWorld(serve: ScriptedHub.echo)
        let bomb = try #require(Gzip.compress([UInt8](repeating: 0, count: EnvelopeReader.limitOfStrangers + 1)))
        for (bytes, code) in [
            ([0, 0xff, 0xff, 0xff, 0xff], StreamEnd.Code.resourceExhausted), ([0, 0, 1, 0, 1], .resourceExhausted),
            (Envelope(payload: bomb, isCompressed: true).encoded, .resourceExhausted),
            ([0x80, 0, 0, 0, 0], .invalidArgument), ([0x02, 0, 0, 0, 0], .invalidArgument),
            ([0, 0, 0, 0, 9, 1], .invalidArgument),
        ] {
            let response = try await world.response(
                EndpointWorld.syncRequest(
                    [("content-type", "application/connect+proto"), ("connect-content-encoding", "gzip")],
                    stream: Pieces(bytes)))
            #expect(try await EndpointWorld.end(response).code == code, "\(bytes.prefix(8))")
        }
    }

    @Test("takes larger messages from those that the hub trusts")
    func trust() async throws {
        let world = try await EndpointWorld(serve: ScriptedHub.trusting)
        let large = [UInt8](repeating: 3, count: EnvelopeReader.limitOfStrangers * 2)
        let response = try await world.response(
            EndpointWorld.syncRequest(stream: Pieces(Envelope(payload: large).encoded)))
        let answer = try EndpointWorld.messages(response)
        answer.limit = EnvelopeReader.limitOfPeers
        #expect(try await answer.next() == .message(large))
    }

    @Test("ends when the time is over that the client has set")
    func timeout() async throws {
        let world = try await EndpointWorld(serve: ScriptedHub.echo)
        let response = try await world.response(
            EndpointWorld.syncRequest([
                ("content-type", "application/connect+proto"), ("connect-timeout-ms", "20"),
            ]))
        #expect(try await EndpointWorld.end(response).code == .deadlineExceeded)
        try await eventually("the session's end") { world.hub.counts.withLock { $0.ended } == 1 }
    }

    @Test("has places for few strangers of an address, until they are trusted or gone")
    func strangers() async throws {
        let trusts = Mutex(false)
        let world = try await EndpointWorld { stream in
            if trusts.withLock({ $0 }) { stream.trust() }
            return await ScriptedHub.echo(stream)
        }
        var held: [RESTResponse] = []
        for port in 0..<PeerLimits.strangersPerAddress {
            held.append(try await world.response(EndpointWorld.syncRequest(peer: "192.0.2.7:\(port)")))
        }
        let refused = try await world.response(EndpointWorld.syncRequest())
        #expect(try await EndpointWorld.end(refused).code == .resourceExhausted)
        // The other listener shares the count; another address has its own.
        guard case .response(let plain) = await world.plain.handle(EndpointWorld.syncRequest()) else { return }
        #expect(try await EndpointWorld.end(plain).code == .resourceExhausted)
        let other = try await world.response(EndpointWorld.syncRequest(peer: "[2001:db8::1]:1"))
        if case .bytes(_) = other.body { Issue.record("another address is refused") }
        // Who lets go of the answer is gone.
        held.removeLast()
        try await eventually("the session's end") { world.hub.counts.withLock { $0.ended } == 1 }
        trusts.withLock { $0 = true }
        for _ in 0..<3 {
            held.append(try await world.response(EndpointWorld.syncRequest()))
            let begun = held.count + 2
            try await eventually("a session") { world.hub.counts.withLock { $0.begun } >= begun }
            try await eventually("trust") {
                let response = try await world.response(EndpointWorld.syncRequest())
                if case .stream(_, _) = response.body { return true }
                return false
            }
        }
    }

    @Test("ends for a member that takes nothing any more")
    func slowReader() async throws {
        let stream = ConnectServerStream(
            peerAddress: "192.0.2.7", request: Silence(), encoding: .identity, patience: .milliseconds(50))
        let answer = stream.makeAnswer()
        var sent = 0
        do {
            while true {
                try await stream.send([UInt8](repeating: 1, count: 10_000))
                sent += 1
            }
        } catch { #expect(error is PeerSyncFailure) }
        #expect(sent < 30)
        await #expect(throws: PeerSyncFailure.self) { try await answer.read(upTo: 100) }
    }

    @Test("is all that a plain listener answers, and other paths are left to others")
    func paths() async throws {
        let world = try await EndpointWorld()
        for call in PeerCall.allCases where call != .sync {
            guard
                case .response(let response) = await world.plain.handle(EndpointWorld.syncRequest(path: call.rawValue))
            else { throw CancellationError() }
            #expect(response.status == 404)
        }
        guard case .response(let elsewhere) = await world.plain.handle(EndpointWorld.syncRequest(path: "/api2/json"))
        else { throw CancellationError() }
        #expect(elsewhere.status == 404)
        #expect(try await world.response(EndpointWorld.syncRequest(path: "/api2/json/x?v1.Backrest/")).status == 299)
        let endpoint = world.endpoint
        #expect(endpoint.takesStream(method: "POST", target: PeerCall.sync.rawValue + "?a=b"))
        #expect(!endpoint.takesStream(method: "GET", target: PeerCall.sync.rawValue))
        #expect(!endpoint.takesStream(method: "POST", target: PeerCall.states.rawValue))
        #expect(endpoint.takesStream(method: "POST", target: "/talk"))
        #expect(endpoint.bodyLimit(method: "POST", target: "/other") == 77)
        let config = PeerCall.setRemoteConfig.rawValue
        #expect(endpoint.bodyLimit(method: "POST", target: config) == 64 << 10)
        #expect(
            endpoint.bodyLimit(method: "POST", target: config, headers: [("authorization", "Bearer x")]) == 32 << 20)
    }
}

@Suite("The gate of strangers")
struct StrangerGateTests {
    @Test("lets an address begin a number of sessions at once, then some each second")
    func rate() throws {
        var limits = StrangerGate.Limits()
        limits.burst = 3
        limits.perSecond = 1
        let gate = StrangerGate(limits: limits)
        let start = ContinuousClock.now
        for _ in 0..<3 { try gate.enter("a", at: start).leave() }
        #expect(throws: PeerSyncFailure.self) { try gate.enter("a", at: start) }
        try gate.enter("b", at: start).leave()
        try gate.enter("a", at: start + .seconds(1)).leave()
        #expect(throws: PeerSyncFailure.self) { try gate.enter("a", at: start + .seconds(1)) }
        // Members that prove themselves do not use anything up.
        for _ in 0..<10 { try gate.enter("a", at: start + .seconds(2)).trust() }
    }

    @Test("has places for a number of them in all, and remembers a number of addresses")
    func bounds() throws {
        var limits = StrangerGate.Limits()
        limits.open = 5
        limits.addresses = 4
        limits.burst = 1
        let gate = StrangerGate(limits: limits)
        let now = ContinuousClock.now
        var held = try (0..<5).map { try gate.enter("held\($0)", at: now) }
        #expect(throws: PeerSyncFailure.self) { try gate.enter("more", at: now) }
        held.removeAll()
        for number in 0..<1000 {
            try gate.enter("a\(number)", at: now + .milliseconds(number)).leave()
        }
        #expect(gate.rememberedAddresses <= 5)
        let last = try gate.enter("b", at: now + .seconds(100))
        last.leave()
        last.trust()
        #expect(throws: Never.self) { try gate.enter("c", at: now + .seconds(100)) }
    }
}

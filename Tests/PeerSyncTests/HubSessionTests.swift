import BackupFormats
import CairnTestSupport
import FoundationEssentials
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

@Suite("A hub, in the session of a member,", .timeLimit(.minutes(10)))
struct HubSessionTests {
    static func created(_ operations: [WireOperation]) -> PeerItem {
        var event = WireOperationEvent()
        event.createdOperations.operations = operations
        return .operations(event)
    }

    static func operation(_ id: Int64, _ change: (inout WireOperation) -> Void = { _ in })
        -> WireOperation
    {
        ReceivedOperationTests.operation {
            $0.id = id
            $0.flowID = id
            $0.modno = 1
            $0.operationBackup = .init()
            change(&$0)
        }
    }

    @Test("asks for what a manifest has and it lacks, and keeps what comes")
    func manifest() async throws {
        let hub = try TestHub()
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        try await member.send(.manifest(ids: [3, 1, 2, 1], counters: [1, 1, 1, 1]))
        #expect(try await member.receive() == .operationRequest(ids: [3, 1, 2, 1]))
        try await member.send(Self.created([Self.operation(3), Self.operation(1), Self.operation(2)]))
        try await member.send(.manifest(ids: [1, 3], counters: [1, 7]))
        #expect(try await member.receive() == .operationRequest(ids: [3]))
        #expect(Set(try await hub.operations(of: member.identity.keyID).map(\.record.originalID)) == [1, 3])
        let overview = try await hub.administration.peer("web")
        #expect(overview.operations == 2 && overview.state == .connected)
    }

    @Test("takes a manifest of many ids, of negative ones and of any order")
    func largeManifest() async throws {
        let hub = try TestHub()
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        let ids = (0..<Int64(20_000)).map { $0 % 3 == 0 ? -$0 - 1 : $0 + 1 } + [0, .min, .max]
        try await member.send(.manifest(ids: ids, counters: ids))
        #expect(try await member.receive() == .operationRequest(ids: ids))
    }

    @Test("ends it for operations that are none, and has taken nothing of their message")
    func badOperations() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        _ = try await hub.pair(identity, named: "web")
        let faults: [(String, (inout WireOperation) -> Void)] = [
            ("no start", { $0.unixTimeStartMs = 0 }), ("no guid", { $0.repoGuid = "" }),
            ("no plan", { $0.planID = "" }),
            ("a snapshot id of three", { $0.snapshotID = "abc" }), ("no flow", { $0.flowID = 0 }),
            ("no id", { $0.id = 0 }),
        ]
        for (what, fault) in faults {
            let member = TestMember(identity, named: "web", of: hub)
            try await member.open()
            try await member.send(Self.created([Self.operation(7), Self.operation(1, fault)]))
            #expect(await member.end.value.code == .invalidArgument, "\(what)")
        }
        #expect(try await hub.operations(of: identity.keyID).isEmpty)
    }

    @Test("keeps operations without a payload, or with one of a later version")
    func unknownOperations() async throws {
        let hub = try TestHub()
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        try await member.send(Self.created([Self.operation(1) { $0.op = nil }]))
        try await member.settle(keeping: [1])
        let found = try await hub.administration.operations(PeerOperationFilter())
        #expect(found.map(\.stored.record.kind) == [0] && found.map(\.instanceID) == ["web"])
    }

    @Test("overwrites what a member says of other members, and leaves their rows alone")
    func strangers() async throws {
        let hub = try TestHub()
        let (a, b) = (try PeerIdentity(), try PeerIdentity())
        let first = try await hub.pair(a, named: "a")
        let second = try await hub.pair(b, named: "b")
        try await first.send(Self.created([Self.operation(1), Self.operation(2)]))
        try await first.settle(keeping: [1, 2])
        try await second.send(
            Self.created([
                Self.operation(1) {
                    $0.originalInstanceKeyid = a.keyID; $0.originalID = 2; $0.planID = "evil"
                }
            ]))
        var deletion = WireOperationEvent()
        deletion.deletedOperations.values = [2, 77]
        try await second.send(.operations(deletion))
        try await second.send(.manifest(ids: [1], counters: [1]))
        try await second.settle(keeping: [1])
        let kept = try await hub.operations(of: a.keyID)
        #expect(Set(kept.map(\.record.originalID)) == [1, 2] && !kept.contains { $0.record.plan == "evil" })
        let theirs = try await hub.operations(of: b.keyID)
        #expect(theirs.map(\.record.originalID) == [1] && theirs.map(\.record.keyID) == [b.keyID])
        // Removing one leaves the other.
        try await hub.administration.remove("a")
        #expect(try await hub.operations(of: a.keyID).isEmpty)
        #expect(try await hub.operations(of: b.keyID).count == 1)
    }

    @Test("gives way to a newer session of the same member, and takes nothing more of the old one")
    func displacement() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        let old = try await hub.pair(identity, named: "web")
        let new = TestMember(identity, named: "web", of: hub)
        try await new.open()
        try? await old.send(Self.created([Self.operation(1)]))
        let end = await old.end.value
        #expect(end.code == .internal && end == StreamEnd(PeerSyncFailure(.displaced, "")))
        try await new.settle()
        #expect(try await hub.operations(of: identity.keyID).isEmpty)
        #expect(hub.states.state(of: identity.keyID)?.state == .connected)
        #expect(hub.service.session(of: identity.keyID) != nil)
    }

    @Test("keeps one of many sessions that race with the same key, and what that one says")
    func race() async throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed of the race: \(seed)")
        var random = SeededRandom(seed: seed)
        let hub = try TestHub()
        let identity = try PeerIdentity()
        _ = try await hub.pair(identity, named: "web")
        let pauses = (0..<8).map { _ in Int.random(in: 0..<20, using: &random) }
        let ends = await withTaskGroup(of: (Int64, StreamEnd?).self) { group in
            for (index, pause) in pauses.enumerated() {
                group.addTask {
                    let id = Int64(index + 1)
                    let member = TestMember(identity, named: "web", of: hub)
                    do {
                        try await Task.sleep(for: .milliseconds(pause))
                        try await member.open()
                        // Whoever speaks last is right: all that others have sent is gone.
                        try await member.send(Self.created([Self.operation(id)]))
                        try await member.settle(keeping: [id])
                        // Wait for a newer one; the last is told when all others have ended.
                        while true { _ = try await member.receive() }
                    } catch { return (id, error as? StreamEnd) }
                }
            }
            var ends: [StreamEnd?] = []
            while ends.count < pauses.count - 1, let end = await group.next() { ends.append(end.1) }
            let last = hub.service.session(of: identity.keyID)
            #expect(last != nil)
            try? await eventually("the last one's operation is kept") {
                try await hub.operations(of: identity.keyID).count == 1
            }
            hub.service.stop()
            return ends
        }
        #expect(ends.allSatisfy { $0 == nil || $0 == StreamEnd(PeerSyncFailure(.displaced, "")) })
        #expect(try await hub.operations(of: identity.keyID).count == 1)
    }

    @Test("ends it in order when the peer is removed or may do other things, also while it does not read")
    func revocation() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        let member = try await hub.pair(identity, named: "web")
        try await member.send(Self.created([Self.operation(1)]))
        try await member.settle(keeping: [1])
        _ = try await hub.administration.setGrants("web", [try PeerGrant(.readConfig, scopes: ["*"])])
        #expect(await member.end.value == .clean)
        #expect(try await hub.operations(of: identity.keyID).count == 1)

        // The stream has room for two items, and the member takes none.
        let blocked = TestMember(identity, named: "web", of: hub, capacity: 2)
        try await blocked.introduce()
        try await eventually("it is connected") { hub.service.session(of: identity.keyID) != nil }
        try await hub.administration.remove("web")
        #expect(await blocked.end.value == .clean)
        #expect(hub.states.state(of: identity.keyID) == nil)
        #expect(try await hub.operations(of: identity.keyID).isEmpty)
        let again = TestMember(identity, named: "web", of: hub)
        try? await again.introduce()
        #expect(await again.end.value == HubPairingTests.refusal)
    }

    @Test("ends it for items that are replayed, left out, changed or plain, and takes none of them")
    func tampering() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        _ = try await hub.pair(identity, named: "web")
        let faults: [(String, (TestMember) throws -> [[UInt8]])] = [
            (
                "replayed",
                {
                    let item = try $0.seal(Self.created([Self.operation(1)])); return [item, item]
                }
            ),
            (
                "left out",
                {
                    _ = try $0.seal(.heartbeat(capabilities: []));
                    return [try $0.seal(Self.created([Self.operation(2)]))]
                }
            ),
            (
                "changed",
                {
                    var item = try $0.seal(Self.created([Self.operation(3)]))
                    item[item.count - 1] ^= 1
                    return [item]
                }
            ),
            (
                "plain",
                { _ in
                    var item = WireSyncStreamItem()
                    item.operationManifest = .init()
                    return [try item.serializedBytes()]
                }
            ),
        ]
        for (what, items) in faults {
            let member = TestMember(identity, named: "web", of: hub)
            try await member.open()
            for item in try items(member) { try? await member.stream.send(item) }
            #expect(await member.end.value.code == .internal, "\(what)")
        }
        #expect(Set(try await hub.operations(of: identity.keyID).map(\.record.originalID)).isSubset(of: [1]))
    }

    @Test("ends it for items of the other role, and for none")
    func roles() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        _ = try await hub.pair(identity, named: "web")
        // Sealed by hand: a session does not let its owner send them.
        for index in 0..<4 {
            let member = RawMember(identity, named: "web", of: hub)
            try await member.open()
            var item = WireSyncStreamItem()
            switch index {
            case 0: item.requestOperationData.opIds = [1]
            case 1: item.setConfig = .init()
            case 2: item.receiveOperations = .init()
            default: item.handshake.instanceID = "web"
            }
            try await member.send(item)
            #expect(await member.end.value.code == .invalidArgument, "item \(index)")
        }
    }

    @Test("ends it when the member takes nothing that is sent to it")
    func slowReader() async throws {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        _ = try await hub.pair(identity, named: "web")
        let member = TestMember(identity, named: "web", of: hub, capacity: 4)
        try await member.introduce()
        // Each manifest has an answer that it does not read.
        while !Task.isCancelled {
            do { try await member.send(.manifest(ids: [1], counters: [1])) } catch { break }
        }
        #expect(await member.end.value.code == .internal)
    }

    @Test("ends it when nothing is heard for long, and says that it is there meanwhile")
    func silence() async throws {
        var settings = TestHub.settings
        settings.heartbeat = .milliseconds(20)
        settings.silence = .seconds(6)
        let hub = try TestHub(settings: settings)
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        guard case .heartbeat = try await member.receive() else {
            Issue.record("no heartbeat")
            return
        }
        #expect(await member.end.value == .clean)
        try await eventually("it is noted") {
            hub.states.state(of: member.identity.keyID)?.state == .disconnected
        }
    }

    @Test("is read from no faster than is agreed, for long")
    func pace() async throws {
        var settings = TestHub.settings
        settings.itemBurst = 2
        settings.itemsPerSecond = 100
        let hub = try TestHub(settings: settings)
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        let start = ContinuousClock.now
        for _ in 0..<30 { try await member.send(.heartbeat(capabilities: [])) }
        try await member.settle()
        #expect(ContinuousClock.now - start >= .milliseconds(250))
    }

    @Test("does not mind a member whose clock is a year off")
    func clocks() async throws {
        let hub = try TestHub()
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        let year: Int64 = 366 * 86_400_000
        let now = hub.clock.seconds * 1000
        try await member.send(
            Self.created([
                Self.operation(1) {
                    $0.unixTimeStartMs = now + year; $0.unixTimeEndMs = now + year + 1
                },
                Self.operation(2) {
                    $0.unixTimeStartMs = now - year; $0.unixTimeEndMs = now - year + 1
                },
            ]))
        try await member.settle(keeping: [1, 2])
        #expect(try await hub.administration.operations(PeerOperationFilter(keyID: "web")).count == 2)
        _ = try await hub.administration.lastResults()
    }
}

import BackupFormats
import BackupServer
import CairnTestSupport
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Tasks
import Testing

@Suite("A member")
struct MemberServiceTests {
    /// The test says what there is.
    func quietWorld(capacity: Int = 64) throws -> MemberWorld {
        try MemberWorld(capacity: capacity) { $0.isLooking = false }
    }

    static let store = StoreView(name: "store", identity: Array(repeating: 7, count: 16), namespaces: [.root])
    static let other = StoreView(name: "other", identity: Array(repeating: 8, count: 16), namespaces: [.root])

    @Test("tells its settings, resources and operations first, in this order, and then what is new")
    func order() async throws {
        let world = try MemberWorld(store: true)
        try world.addHub()
        try await world.run {
            let hub = try await world.nextSession()
            guard case .config(let view) = try await hub.receive() else { throw MemberWorld.Patience(what: "config") }
            #expect(view.version == 6 && view.repos.isEmpty && view.plans.isEmpty)
            guard case .resources = try await hub.receive() else { throw MemberWorld.Patience(what: "resources") }
            guard case .manifest = try await hub.receive() else { throw MemberWorld.Patience(what: "manifest") }
            guard case .heartbeat(let told) = try await hub.receive() else {
                throw MemberWorld.Patience(what: "heartbeat")
            }
            #expect(told.contains(.logs))
            #expect(world.state?.state == .pending)
            try await hub.accept()
            try await world.until("connected") { world.state?.state == .connected }
            #expect(world.state?.remoteConfig.version == 6)

            let task = world.tasks.start("garbage_collection", id: "store", owner: AuthID(parsing: "root@pam")!)
            var first: WireOperation?
            while first == nil { first = try await hub.next().operationsOfEvent.first }
            #expect(first?.status == .statusInprogress && first?.repoID == "store" && first?.planID == "_system_")
            task.log("well done")
            task.finish()
            var last = first
            while last?.status != .statusSuccess { last = try await hub.next().operationsOfEvent.last }
            #expect(last?.id == first?.id && last?.flowID == first?.id && last!.modno > first!.modno)
            #expect(last?.logref == "\(task.upid)")
        }
    }

    @Test("sends nothing outside of what is granted, whatever the hub asks for")
    func filter() async throws {
        let world = try quietWorld()
        let (store, other) = (Self.store, Self.other)
        world.feed.setView([store, other])
        let start = world.clock.seconds * 1000
        let changes = try world.feed.operations.put([
            try MemberWorld.content("a", store: store, start: start),
            try MemberWorld.content("b", store: store, plan: "store_x", start: start),
            try MemberWorld.content("c", store: other, plan: "other", start: start),
            try MemberWorld.content("d", store: store, plan: "_system_", start: start),
        ])
        let ids = changes.created
        try world.addHub([(.readOperations, ["repo:store", "!plan:store_x"])])
        try await world.run {
            let hub = try await world.nextSession()
            var listed: [Int64]?
            while listed == nil {
                switch try await hub.next() {
                case .manifest(let ids, _): listed = ids
                case .resources(let repos, let plans):
                    #expect(repos.map(\.id) == ["store"] && plans.isEmpty)
                default: continue
                }
            }
            #expect(listed == [ids[0]])
            try await hub.send(.operationRequest(ids: ids + [-1, 0, .max]))
            try await hub.send(.resourcesRequest)
            var sent: [WireOperation] = []
            var isAnswered = false
            while sent.isEmpty || !isAnswered {
                let item = try await hub.next()
                sent += item.operationsOfEvent
                if case .resources = item { isAnswered = true }
            }
            #expect(sent.map(\.id) == [ids[0]])
            // Nor as news.
            world.feed.tell(changes)
            try await hub.send(.manifestRequest)
            var news: [Int64] = []
            while true {
                let item = try await hub.next()
                news += item.operationsOfEvent.map(\.id)
                if case .manifest(let again, _) = item {
                    #expect(again == [ids[0]])
                    break
                }
            }
            #expect(Set(news).isSubset(of: [ids[0]]))
        }
    }

    @Test("carries nothing out that a hub pushes, keeps the session and says so")
    func push() async throws {
        let world = try MemberWorld()
        try world.addHub([(.readWriteConfig, ["*"]), (.receiveSharedRepos, ["*"])])
        try await world.run {
            let hub = try await world.acceptedSession()
            var push = WireSyncStreamItem.SyncActionSetConfig()
            var plan = WirePlan()
            plan.id = "store"
            push.plans = [plan]
            push.reposToDelete = ["other"]
            try await hub.send(.configPush(push))
            try await world.until("the refusal") { world.state?.statusMessage.contains("refused") == true }
            #expect(world.state?.state == .connected)
            try await hub.send(.manifestRequest)
            while true { if case .manifest = try await hub.next() { break } }
        }
    }

    @Test("comes back at once after the session in which it paired, and keeps its secret until it is accepted")
    func pairing() async throws {
        let world = try MemberWorld()
        let secret = String(repeating: "ab", count: 32)
        try world.addHub(secret: secret)
        try await world.run {
            let first = try PlayedHub(try await world.nextStream(), as: world.hubIdentity)
            #expect(try await first.meet().pairingSecret == secret)
            first.stream.end(StreamEnd(code: .permissionDenied, message: "client is not an authorized peer"))
            let second = try PlayedHub(try await world.nextStream(), as: world.hubIdentity)
            #expect(world.recorded.total <= 1)
            #expect(world.directory.peer(keyID: world.hubIdentity.keyID)?.pairingSecret == secret)
            #expect(try await second.meet().pairingSecret == secret)
            try await second.accept()
            try await world.until("connected") { world.state?.state == .connected }
            #expect(world.directory.peer(keyID: world.hubIdentity.keyID)?.pairingSecret == nil)
            // That it is gone ends no session.
            try await second.send(.manifestRequest)
            try await second.send(.resourcesRequest)
            while true { if case .manifest = try await second.next() { break } }
        }
    }

    @Test("says what to do when it is refused, and waits longer each time")
    func refusal() async throws {
        let world = try MemberWorld()
        try world.addHub()
        try await world.run {
            for wait in [60.0, 180] {
                let hub = try await world.nextSession()
                world.recorded.reset()
                hub.stream.end(StreamEnd(code: .permissionDenied, message: "no"))
                try await world.until("the refusal") { world.state?.state == .errorAuth }
                #expect(world.state?.statusMessage.contains("new token") == true)
                #expect(world.state?.statusMessage.contains("next attempt at 20") == true)
                let next = try await world.nextStream()
                #expect((wait * 0.85...wait * 1.15).contains(world.recorded.total))
                next.close()
                // The attempt that was cut counts too.
                if wait == 60 { break }
            }
        }
    }

    @Test("shows its secret to nobody who cannot prove the hub's key")
    func impostor() async throws {
        let world = try MemberWorld()
        try world.addHub(secret: String(repeating: "cd", count: 32))
        try await world.run {
            let impostor = try PlayedHub(try await world.nextStream(), as: try PeerIdentity())
            await #expect(throws: (any Error).self) { _ = try await impostor.meet() }
            #expect(impostor.receivedCount == 1, "the public key and nothing else")
            try await world.until("the verdict") { world.state?.state == .errorAuth }
            #expect(world.state?.statusMessage.contains("not the one of the pairing token") == true)
            #expect(world.directory.peer(keyID: world.hubIdentity.keyID)?.pairingSecret != nil)
        }
    }

    @Test("ends its session when what it grants changes, and when the hub is removed")
    func changes() async throws {
        let world = try MemberWorld()
        try world.addHub()
        try await world.run {
            let first = try await world.acceptedSession()
            try world.directory.update(keyID: world.hubIdentity.keyID) {
                $0.grants = [try PeerGrant(.readOperations, scopes: ["repo:store"])]
            }
            let second = try await world.acceptedSession()
            #expect(world.recorded.total == 0)
            await #expect(throws: (any Error).self) { while true { _ = try await first.receive() } }
            try world.directory.remove(keyID: world.hubIdentity.keyID)
            await #expect(throws: (any Error).self) { while true { _ = try await second.receive() } }
            try await world.until("forgotten") { world.state == nil }
        }
    }

    @Test("tells of a hub that cannot be reached, and when it tries again")
    func unreachable() async throws {
        let world = try MemberWorld()
        world.dialer.fail([
            BackupFailure(.unavailable, "nobody answers at hub.example"),
            BackupFailure(.notAuthenticated, "the certificate is not trusted", hints: ["Give its fingerprint."]),
        ])
        var seen: [WirePeerState] = []
        let states = world.states.stream(of: [], follows: true)
        try world.addHub()
        try await world.run {
            _ = try await world.acceptedSession()
            for await state in states {
                seen.append(state)
                if state.state == .connected { break }
            }
        }
        #expect(seen.map(\.state).prefix(4) == [.pending, .retryWait, .pending, .errorAuth])
        #expect(seen[1].statusMessage.contains("nobody answers") && seen[1].statusMessage.contains("next attempt"))
        #expect(seen[3].statusMessage.contains("fingerprint"))
    }

    @Test("ends a session that breaks the protocol, and one whose clock jumps")
    func broken() async throws {
        let world = try MemberWorld()
        try world.addHub()
        try await world.run {
            let first = try await world.acceptedSession()
            try await first.stream.send([0xff, 0xff])
            await #expect(throws: (any Error).self) { while true { _ = try await first.receive() } }
            let second = try await world.acceptedSession()
            world.recorded.reset()
            world.clock.advance(seconds: 3600)
            await #expect(throws: (any Error).self) { while true { _ = try await second.receive() } }
            _ = try await world.acceptedSession()
            #expect(world.recorded.total <= 1)
        }
    }

    @Test("keeps little for a hub that does not read, and lets it catch up by a manifest")
    func slowHub() async throws {
        let world = try quietWorld(capacity: 4)
        world.feed.setView([Self.store])
        let made = try world.feed.operations.put(
            (0..<40).map { try MemberWorld.content("s\($0)", store: Self.store, start: world.clock.seconds * 1000) })
        try world.addHub()
        try await world.run {
            let hub = try await world.acceptedSession()
            for _ in 0..<20 { try await hub.send(.operationRequest(ids: made.created)) }
            // More changes than it keeps, while the writer waits for room.
            var changes = OwnOperationChanges()
            for start in stride(from: Int64(1), to: 20_000, by: 1000) {
                changes.updated = (start..<start + 1000).map { $0 }
                world.feed.tell(changes)
            }
            var answered = 0
            var isCaughtUp = false
            while answered < 20 * 40 || !isCaughtUp {
                let item = try await hub.next()
                answered += item.operationsOfEvent.count
                if case .manifest(let ids, _) = item {
                    #expect(ids == made.created)
                    isCaughtUp = true
                }
            }
        }
    }

    @Test("gives the log of a task as it grows, and none that is not granted")
    func logs() async throws {
        let world = try MemberWorld(store: true)
        try world.addHub([(.readOperations, ["repo:store"])])
        try await world.run {
            let hub = try await world.acceptedSession()
            let owner = AuthID(parsing: "root@pam")!
            let task = world.tasks.start("garbage_collection", id: "store", owner: owner)
            let hidden = world.tasks.start("garbage_collection", id: "elsewhere", owner: owner)
            task.log("first line")
            var operation: WireOperation?
            while operation == nil { operation = try await hub.next().operationsOfEvent.first }
            try await hub.send(.logRequest(id: "\(hidden.upid)"))
            try await hub.send(.logRequest(id: "no task at all"))
            try await hub.send(.logRequest(id: "\(task.upid)"))
            var text = ""
            var refused: [String] = []
            var isFirst = true
            var isOver = false
            while !isOver {
                guard case .logData(let data) = try await hub.next() else { continue }
                if !data.errorMessage.isEmpty {
                    refused.append(data.logID)
                    continue
                }
                #expect(data.logID == "\(task.upid)")
                #expect((data.ownerOpid == operation?.id) == isFirst && (data.expirationTsUnix > 0) == isFirst)
                isFirst = false
                text += String(decoding: data.chunk, as: UTF8.self)
                if data.chunk.isEmpty { isOver = true }
                if text.contains("first line"), !text.contains("second") {
                    task.log("second line")
                    task.finish()
                }
            }
            #expect(Set(refused) == ["\(hidden.upid)", "no task at all"])
            let lines = text.split(separator: "\n")
            #expect(lines.count == 3 && lines[2].hasSuffix("TASK OK"))
            hidden.finish()
        }
    }

    @Test("shows its settings where that is granted, without anything that opens or runs something")
    func config() async throws {
        let world = try MemberWorld(store: true)
        try await world.database.write { state in
            try state.put(
                ConfigEntry(
                    id: "s-1", properties: ["store": "store", "schedule": "mon..fri 02:30", "remote": "far"]),
                in: .syncJob)
            try state.put(
                ConfigEntry(id: "p-1", properties: ["store": "store", "schedule": "daily", "keep-last": 3]),
                in: .pruneJob)
        }
        try SampleBackup().run(in: try world.stores.datastore("store", for: .write))
        await world.feed.round()
        try world.addHub([(.readConfig, ["*"])])
        try await world.run {
            let hub = try await world.nextSession()
            guard case .config(let view) = try await hub.next() else { throw MemberWorld.Patience(what: "config") }
            let repo = try #require(view.repos.first)
            #expect(repo.id == "store" && repo.uri == "pbs:box:store" && repo.guid.count == 64)
            #expect(repo.password.isEmpty && repo.env.isEmpty && repo.hooks.isEmpty && repo.flags.isEmpty)
            let plan = try #require(view.plans.first)
            #expect(plan.id == "store" && plan.repo == "store" && plan.paths == ["/"])
            #expect(plan.schedule.cron == "30 2 * * 1,2,3,4,5")
            #expect(plan.retention.policyTimeBucketed.keepLastN == 3 && view.modno > 0)
            // Settings are no operations.
            while true {
                if case .manifest(let ids, _) = try await hub.next() {
                    #expect(ids.isEmpty)
                    break
                }
            }
        }
    }
}

import BackupFormats
import CairnTestSupport
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

@Suite("Settings that a hub sends to a member", .timeLimit(.minutes(10)))
struct HubPushTests {
    static func plan(_ id: String, paths: [String] = ["/srv"]) -> WirePlan {
        WirePlan.with {
            $0.id = id
            $0.repo = "main"
            $0.paths = paths
        }
    }

    static func repo(_ id: String, guid: Character = "a", password: String = "") -> WireRepo {
        WireRepo.with {
            $0.id = id
            $0.uri = "/backup/\(id)"
            $0.guid = String(repeating: guid, count: 64)
            $0.password = password
        }
    }

    static func view(_ plans: [WirePlan], _ repos: [WireRepo] = [repo("main")]) -> WireRemoteConfig {
        WireRemoteConfig.with {
            $0.plans = plans
            $0.repos = repos
        }
    }

    /// A hub, and a member that has told its settings: the plans `daily` and `hidden`, of which it shows the first.
    func world(_ settings: HubSettings = TestHub.settings) async throws -> (TestHub, TestMember) {
        let hub = try TestHub(settings: settings)
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        var plans: [WirePlanMetadata] = []
        for id in ["daily", "hidden"] { plans.append(WirePlanMetadata.with { $0.id = id }) }
        try await member.send(.resources(repos: [], plans: plans))
        try await member.send(.config(Self.view([Self.plan("daily")])))
        try await member.settle()
        return (hub, member)
    }

    func outcome(_ hub: TestHub, _ wanted: ConfigPushResult.Outcome) async throws {
        try await eventually("the push is \(wanted)") {
            try await hub.administration.pushes(to: "web").first?.outcome == wanted
        }
    }

    @Test("are applied when its next view shows them, also one from a session after it")
    func applied() async throws {
        let (hub, member) = try await world()
        let changed = Self.plan("daily", paths: ["/home"])
        let sent = try await hub.administration.push(
            ConfigPush(repos: [Self.repo("main", password: "new")], plans: [changed], plansToDelete: []), to: "web")
        #expect(sent.outcome == .sent && sent.subjects == ["repo:main", "plan:daily"])
        guard case .configPush(let push) = try await member.receive() else {
            Issue.record("nothing was sent")
            return
        }
        #expect(push.plans == [changed] && push.repos.map(\.password) == ["new"])
        // A real member that applies it drops its session and comes back with its new settings.
        member.stream.finish()
        _ = await member.end.value
        let again = TestMember(member.identity, named: "web", of: hub)
        try await again.open()
        try await again.send(.config(Self.view([changed])))
        try await outcome(hub, .applied)
    }

    @Test("are refused when its next view does not show them, or when it ends the session and stays away")
    func refused() async throws {
        var settings = TestHub.settings
        settings.pushReturn = .milliseconds(50)
        let (hub, member) = try await world(settings)
        _ = try await hub.administration.push(ConfigPush(plansToDelete: ["daily"]), to: "web")
        _ = try await member.receive()
        try await member.send(.config(Self.view([Self.plan("daily")])))
        try await outcome(hub, .refused)
        _ = try await hub.administration.push(ConfigPush(plans: [Self.plan("new")]), to: "web")
        try await outcome(hub, .sent)
        member.stream.close()
        _ = await member.end.value
        try await outcome(hub, .refused)
        #expect(try await hub.administration.pushes(to: "web").map(\.subjects) == [["plan:new"], ["!plan:daily"]])
    }

    @Test("have an unknown outcome when it gives no sign, and after a restart")
    func unknown() async throws {
        var settings = TestHub.settings
        settings.pushPatience = .milliseconds(50)
        let (hub, member) = try await world(settings)
        _ = try await hub.administration.push(ConfigPush(plans: [Self.plan("daily")]), to: "web")
        try await outcome(hub, .unknown)
        // A late sign is better than none.
        try await member.send(.config(Self.view([Self.plan("daily")])))
        try await outcome(hub, .applied)
        try await eventually("it is stored") {
            try await hub.database.read { try $0.peerPushes(of: member.identity.keyID).first?.outcome } == "applied"
        }
        let (slow, other) = try await world()
        _ = try await slow.administration.push(ConfigPush(plans: [Self.plan("daily")]), to: "web")
        _ = try await other.receive()
        let restarted = try TestHub(in: slow.folder)
        #expect(try await restarted.administration.pushes(to: "web").map(\.outcome) == [.unknown])
    }

    @Test("are not sent where they cannot be applied")
    func impossible() async throws {
        let (hub, member) = try await world()
        let impossible: [ConfigPush] = [
            ConfigPush(), ConfigPush(plans: [Self.plan("hidden")]), ConfigPush(plansToDelete: ["hidden"]),
            ConfigPush(reposToDelete: ["none"]), ConfigPush(plans: [WirePlan()]), ConfigPush(repos: [WireRepo()]),
            ConfigPush(repos: [Self.repo("main", guid: "b")]),
            ConfigPush(repos: [
                WireRepo.with {
                    $0.id = "x"; $0.uri = "y"
                }
            ]),
        ]
        for (index, push) in impossible.enumerated() {
            do {
                _ = try await hub.administration.push(push, to: "web")
                Issue.record("push \(index) was sent")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .invalidInput, "push \(index)")
            }
        }
        member.stream.finish()
        _ = await member.end.value
        do {
            _ = try await hub.administration.push(ConfigPush(plans: [Self.plan("daily")]), to: "web")
            Issue.record("a push was sent to nobody")
        } catch let failure as BackupFailure { #expect(failure.kind == .conflict) }
        #expect(try await hub.administration.pushes(to: "web").isEmpty)
    }
}

@Suite("Logs of a member that is a Cairn", .timeLimit(.minutes(10)))
struct HubLogTests {
    func piece(_ id: String, _ text: String, error: String = "") -> PeerItem {
        var data = WireSyncStreamItem.SyncActionReceiveLogData()
        data.logID = id
        data.chunk = .init(text.utf8)
        data.errorMessage = error
        return .logData(data)
    }

    func world() async throws -> (TestHub, TestMember, operation: Int64) {
        let hub = try TestHub()
        let identity = try PeerIdentity()
        _ = try await hub.pair(identity, named: "web")
        let member = TestMember(identity, named: "web", of: hub)
        try await member.open(capabilities: [.logs])
        try await member.send(.heartbeat(capabilities: [.logs]))
        try await member.send(HubSessionTests.created([HubSessionTests.operation(1) { $0.logref = "UPID:1" }]))
        try await member.settle(keeping: [1])
        let operation = try #require(try await hub.operations(of: identity.keyID).first)
        return (hub, member, operation.id)
    }

    func request(_ member: TestMember) async throws -> String {
        guard case .logRequest(let id) = try await member.receive() else { throw TestMember.Unexpected() }
        return id
    }

    @Test("come through its session, to several readers at once")
    func reads() async throws {
        let (hub, member, operation) = try await world()
        #expect(try await hub.administration.peer("web").sharesLogs)
        let first = try await hub.administration.log(of: operation)
        let second = try await hub.administration.log(of: operation)
        let (one, two) = (try await request(member), try await request(member))
        #expect(one == "UPID:1" && two != one && two.hasPrefix("UPID:1#"))
        for text in ["a", "b"] { try await member.send(piece(one, text)) }
        try await member.send(piece(two, "c"))
        try await member.send(piece(one, ""))
        try await member.send(piece(two, "", error: "gone"))
        try await member.send(piece("never asked for", "d"))
        #expect(try await first.reduce(into: [UInt8]()) { $0 += $1 } == Array("ab".utf8))
        await #expect(throws: BackupFailure.self) { for try await _ in second {} }
        try await member.settle(keeping: [1])
    }

    @Test("end with its session; without one, or from others, there are none")
    func ends() async throws {
        let (hub, member, operation) = try await world()
        let log = try await hub.administration.log(of: operation)
        _ = try await request(member)
        member.stream.finish()
        await #expect(throws: BackupFailure.self) { for try await _ in log {} }
        _ = await member.end.value
        try await eventually("it is not connected") { hub.service.session(of: member.identity.keyID) == nil }
        await #expect(throws: BackupFailure.self) { _ = try await hub.administration.log(of: operation) }
        let plain = TestMember(member.identity, named: "web", of: hub)
        try await plain.open()
        await #expect(throws: BackupFailure.self) { _ = try await hub.administration.log(of: operation) }
        await #expect(throws: BackupFailure.self) { _ = try await hub.administration.log(of: 999) }
    }
}

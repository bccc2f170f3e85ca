import AccessControl
import BackupFormats
import BackupServer
import CairnTestSupport
import Datastore
import StateDatabase
import Tasks
import Testing

@Suite("A job")
struct JobTests {
    let verify = JobID.configured(.verify, "v-1")

    @Test("runs when it is due, and not again before the next time")
    func runsWhenDue() async throws {
        let world = try JobWorld()
        try world.add("v-1", "hourly")
        #expect(try await world.tick(at: "2024-06-01T00:59:00Z") == 0)
        #expect(try await world.tick(at: "2024-06-01T01:00:00Z") == 1)
        #expect(try await world.tick(at: "2024-06-01T01:00:30Z") == 0)
        #expect(try await world.tick(at: "2024-06-01T01:59:00Z") == 0)
        #expect(try await world.tick(at: "2024-06-01T02:00:00Z") == 1)
        let status = try world.jobs.status(of: verify)
        #expect(status.lastRunState == "OK" && status.lastRunEndTime == world.clock.seconds && !status.isRunning)
        #expect(status.nextRun == BackupTime.parse("2024-06-01T03:00:00Z") && status.overdueSince == nil)
        #expect(status.lastRunUPID?.contains(#":verificationjob:store1\x3av\x2d1:root@pam:"#) == true)
    }

    @Test("makes up for missed runs by one run after the server was down")
    func catchesUp() async throws {
        let world = try JobWorld()
        try world.add("v-1", "hourly")
        try await world.tick(at: "2024-06-01T01:00:00Z")
        try await world.restart()
        #expect(try await world.tick(at: "2024-06-03T07:21:00Z") == 1)
        #expect(try await world.tick(at: "2024-06-03T07:22:00Z") == 0)
        #expect(try world.jobs.status(of: verify).nextRun == BackupTime.parse("2024-06-03T08:00:00Z"))
        #expect(world.work.done == ["verify:v-1", "verify:v-1"])
    }

    @Test("never runs twice at a time, and once more when it took longer than its schedule")
    func notTwice() async throws {
        let world = try JobWorld()
        try world.add("v-1", "hourly")
        world.work.hold("verify:v-1")
        world.clock.advance(seconds: 3600)
        let task = try #require(try world.jobs.runDue().first)
        #expect(try world.jobs.status(of: verify).isRunning)
        #expect(try world.jobs.status(of: verify).lastRunState == nil)
        world.clock.advance(seconds: 3 * 3600)
        #expect(try world.jobs.runDue().isEmpty)
        let failure = #expect(throws: BackupFailure.self) { try world.jobs.start(verify, by: .root) }
        #expect(failure?.kind == .conflict)
        world.work.letGo("verify:v-1")
        await world.ended(task)
        let again = try world.jobs.runDue()
        #expect(again.count == 1)
        for task in again { await world.ended(task) }
        #expect(try world.jobs.runDue().isEmpty)
    }

    @Test("that runs when the server dies is interrupted, and runs at its next time only")
    func interrupted() async throws {
        let world = try JobWorld()
        try world.add("v-1", "hourly")
        world.work.hold("verify:v-1")
        world.clock.advance(seconds: 3600)
        #expect(try world.jobs.runDue().count == 1)
        try await world.restart()
        world.work.letGo("verify:v-1")
        #expect(try world.jobs.status(of: verify).lastRunState != "OK")
        #expect(try world.jobs.status(of: verify).lastRunEndTime != nil)
        #expect(try await world.tick(at: "2024-06-01T01:30:00Z") == 0)
        #expect(try await world.tick(at: "2024-06-01T02:00:00Z") == 1)
    }

    @Test("neither storms nor falls asleep when the clock jumps")
    func clockJumps() async throws {
        let world = try JobWorld()
        try world.add("v-1", "daily")
        try await world.tick(at: "2024-06-02T00:00:00Z")
        // A little back over the time of the last run: that run counts.
        #expect(try await world.tick(at: "2024-06-01T23:50:00Z") == 0)
        #expect(try await world.tick(at: "2024-06-02T00:00:00Z") == 0)
        // Ten years ahead: one run. Back again: it goes on as if nothing had been.
        #expect(try await world.tick(at: "2034-01-01T12:00:00Z") == 1)
        #expect(try await world.tick(at: "2034-01-01T12:01:00Z") == 0)
        #expect(try await world.tick(at: "2024-06-02T09:00:00Z") == 0)
        #expect(try world.jobs.status(of: verify).nextRun == BackupTime.parse("2024-06-03T00:00:00Z"))
        #expect(try await world.tick(at: "2024-06-03T00:00:00Z") == 1)
    }

    @Test("with a new schedule, or enabled again, counts from then on")
    func newSchedule() async throws {
        let world = try JobWorld()
        try world.jobs.add(
            "p-1", to: .prune, ["store": "store1", "schedule": "yearly", "disable": true, "keep-last": 1],
            by: world.root, world.access)
        #expect(try await world.tick(at: "2024-06-05T12:00:00Z") == 0)
        try world.jobs.update(
            "p-1", in: .prune, settings: ["schedule": "daily"], removed: ["disable"], digest: nil, by: world.root,
            world.access)
        #expect(try await world.tick(at: "2024-06-05T12:01:00Z") == 0)
        let id = JobID.configured(.prune, "p-1")
        #expect(try world.jobs.status(of: id).nextRun == BackupTime.parse("2024-06-06T00:00:00Z"))
        #expect(try await world.tick(at: "2024-06-06T00:00:00Z") == 1)
    }

    @Test("of a datastore's own settings runs, and keeps its last run without a schedule")
    func storeJobs() async throws {
        let world = try JobWorld()
        try world.set(["gc-schedule": "daily", "prune-schedule": "daily", "keep-last": 3])
        try await world.tick(at: "2024-06-01T00:01:00Z")
        try await world.tick(at: "2024-06-02T00:00:00Z")
        #expect(world.work.done.sorted() == ["gc:store1", "store-prune:store1"])
        let grant = try world.access.grant(.all, on: .root, to: world.root)
        try world.stores.update("store1", settings: [:], removed: ["gc-schedule"], digest: nil, by: grant)
        try await world.tick(at: "2024-06-03T00:00:00Z")
        let status = try world.jobs.status(of: .garbageCollection("store1"))
        #expect(status.lastRunState == "OK" && status.nextRun == nil)
        #expect(try await world.tick(at: "2024-06-04T00:00:00Z") == 1)
    }

    @Test("that fails is overdue after an hour, until it has run well")
    func overdue() async throws {
        let world = try JobWorld()
        try world.add("v-1", "daily")
        world.work.fail("verify:v-1")
        try await world.tick(at: "2024-06-02T00:00:00Z")
        #expect(try world.jobs.status(of: verify).lastRunState == "no room")
        #expect(try world.jobs.status(of: verify).overdueSince == nil)
        try await world.tick(at: "2024-06-02T01:00:01Z")
        #expect(try world.jobs.status(of: verify).overdueSince == BackupTime.parse("2024-06-02T00:00:00Z"))
        world.work.fail("verify:v-1", false)
        let task = try world.jobs.start(verify, by: .root)
        await world.ended(task)
        #expect(try world.jobs.status(of: verify).overdueSince == nil)
    }

    @Test("goes with its datastore, unless it is to be kept", arguments: [false, true])
    func removal(isKept: Bool) async throws {
        let world = try JobWorld()
        try world.add("v-1", "daily")
        let grant = try world.access.grant(.all, on: .root, to: world.root)
        try world.stores.remove("store1", destroyingData: false, keepingJobs: isKept, digest: nil, by: grant)
        #expect(try world.jobs.jobs(in: .verify).count == (isKept ? 1 : 0))
    }
}

@Suite("The rhythm of a group")
struct GroupRhythmTests {
    static let day: Int64 = 86400

    @Test("is the median of the distances between its last backups")
    func median() {
        let times = [10, 9, 8, 3].map { Int64($0) * Self.day }
        #expect(GroupRhythm.overdueSince(times, setting: .ownRhythm, now: 12 * Self.day) == nil)
        #expect(
            GroupRhythm.overdueSince(times, setting: .ownRhythm, now: 12 * Self.day + 3601) == 12 * Self.day + 3600)
        #expect(GroupRhythm.overdueSince(Array(times.prefix(2)), setting: .ownRhythm, now: .max) == nil)
        #expect(GroupRhythm.overdueSince([], setting: .seconds(60), now: .max) == nil)
    }

    @Test("can be set")
    func configured() throws {
        let times = [Self.day]
        #expect(try GroupRhythm.Setting("2d") == .seconds(2 * Self.day))
        #expect(GroupRhythm.overdueSince(times, setting: .seconds(2 * Self.day), now: 3 * Self.day) == nil)
        #expect(
            GroupRhythm.overdueSince(times, setting: .seconds(2 * Self.day), now: 3 * Self.day + 1) == 3 * Self.day)
        #expect(try GroupRhythm.Setting("never") == .never && GroupRhythm.Setting(nil) == .ownRhythm)
        #expect(throws: BackupFailure.self) { try GroupRhythm.Setting("soon") }
        #expect(throws: BackupFailure.self) { try GroupRhythm.Setting("5s") }
    }
}

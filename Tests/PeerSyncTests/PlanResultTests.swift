import BackupFormats
import CairnTestSupport
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Testing

@Suite("The plan of a member", .timeLimit(.minutes(10)))
struct PlanResultTests {
    static let day: Int64 = 86_400

    func schedule(_ change: (inout WireSchedule) -> Void) -> WireSchedule { WireSchedule.with(change) }

    @Test("is due by its schedule: times of the day, or a longest distance")
    func due() {
        // 2024-06-01 03:00 UTC, a Saturday.
        let last: Int64 = 1_717_210_800
        func due(_ schedule: WireSchedule, last: Int64 = last, offset: Int = 0) -> PlanRhythm.Due {
            PlanRhythm.due(schedule, last: last, isBackup: true, offset: { _ in offset })
        }
        #expect(due(schedule { $0.cron = "0 3 * * *" }) == .at(last + Self.day))
        #expect(due(schedule { $0.cron = "0 3 * * 1-5" }, last: last - Self.day) == .at(last + 2 * Self.day))
        // The member's clock is seven hours behind ours: it starts at its three o'clock every day.
        #expect(due(schedule { $0.cron = "0 3 * * *" }, last: last + 7 * 3600) == .at(last + Self.day + 7 * 3600))
        // By UTC everybody means the same: this one was made by hand.
        #expect(
            due(
                schedule {
                    $0.cron = "0 3 * * *"; $0.clock = .utc
                }, last: last + 7 * 3600, offset: 3600)
                == .at(last + Self.day))
        #expect(due(schedule { $0.maxFrequencyDays = 2 }) == .at(last + 2 * Self.day))
        #expect(due(schedule { $0.maxFrequencyHours = 6 }) == .at(last + 6 * 3600))
        #expect(due(schedule { $0.disabled = true }) == .never)
        #expect(due(schedule { $0.cron = "every day" }) == .unknown && due(WireSchedule()) == .unknown)
        #expect(due(schedule { $0.maxFrequencyDays = -1 }) == .unknown)
        #expect(due(schedule { $0.cron = "* * * * *" }, last: .min / 1000) == .never)
        #expect(due(schedule { $0.cron = "* * * * *" }, last: .max / 1000) == .never)
    }

    @Test(
        "has a schedule of five fields",
        arguments: [
            // From 2024-06-01 03:00 UTC, a Saturday, in minutes.
            ("* * * * *", 1), ("*/15 * * * *", 15), ("30 2 * * *", 1410), ("0 0 * * SUN", 1260), ("0 0 * * 7", 1260),
            ("0 4-6/2 * * *", 60), ("5,10 3 1 * *", 5), ("0 0 1 jan *", 307_980), ("@hourly", 60), ("@daily", 1260),
            // Both days restricted: either counts.
            ("0 0 15 * 1", 2700), ("0 0 29 2 *", 1_969_740),
        ])
    func cron(_ text: String, _ minutes: Int64) throws {
        let cron = try #require(CronSchedule(parsing: text))
        let found = cron.next(after: 1_717_210_800, offset: { _ in 0 })
        #expect(found.map { ($0 - 1_717_210_800) / 60 } == minutes)
    }

    @Test(
        "has no schedule that cannot be read, or never comes",
        arguments: [
            "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *", "a * * * *", "1, * * * *", "-1 * * * *", "@never", "1//2 * * * *",
        ])
    func badCron(_ text: String) { #expect(CronSchedule(parsing: text) == nil) }

    @Test("has no next time on a day that does not exist")
    func never() throws {
        let cron = try #require(CronSchedule(parsing: "0 0 31 2 *"))
        #expect(cron.next(after: 0, offset: { _ in 0 }) == nil)
    }

    @Test("shows its last backup, whether that failed, and whether the next one is late")
    func results() async throws {
        let hub = try TestHub()
        let member = try await hub.pair(try PeerIdentity(), named: "web")
        let now = hub.clock.seconds
        func backup(_ id: Int64, _ plan: String, age: Int64, _ status: WireOperationStatus = .statusSuccess)
            -> WireOperation
        {
            HubSessionTests.operation(id) {
                $0.planID = plan
                $0.status = status
                $0.unixTimeStartMs = (now - age) * 1000
                $0.unixTimeEndMs = status == .statusInprogress ? 0 : (now - age + 60) * 1000
                $0.displayMessage = status == .statusError ? "disk full\nmore" : ""
            }
        }
        let day = Self.day
        try await member.send(
            HubSessionTests.created([
                backup(1, "good", age: 3600), backup(2, "good", age: day), backup(3, "bad", age: 600, .statusError),
                backup(4, "bad", age: day), backup(5, "late", age: 5 * day), backup(6, "busy", age: 5 * day),
                backup(7, "busy", age: 60, .statusInprogress),
                // No schedule is shown: its own rhythm was an hour.
                backup(8, "rhythm", age: day), backup(9, "rhythm", age: day + 3600),
                backup(10, "rhythm", age: day + 7200),
            ]))
        func plan(_ id: String) -> WirePlan {
            WirePlan.with {
                $0.id = id
                $0.repo = "main"
                $0.schedule.maxFrequencyDays = 2
            }
        }
        let plans = ["good", "bad", "late", "busy", "new"]
        try await member.send(.config(HubPushTests.view(plans.map(plan))))
        let known = plans + ["_system_", "unseen"]
        try await member.send(.resources(repos: [], plans: known.map { id in WirePlanMetadata.with { $0.id = id } }))
        try await member.settle(keeping: Array(1...10))

        let results = try await hub.administration.lastResults()
        let byPlan = Dictionary(uniqueKeysWithValues: results.map { ($0.plan, $0) })
        #expect(Set(byPlan.keys) == ["good", "bad", "late", "busy", "rhythm", "new", "unseen"])
        #expect(byPlan["good"]?.last?.stored.record.originalID == 1 && byPlan["good"]?.overdueSince == nil)
        #expect(byPlan["bad"]?.last?.message.status == .statusError && byPlan["bad"]?.overdueSince == nil)
        #expect(byPlan["late"]?.overdueSince == now - 3 * day)
        #expect(byPlan["busy"]?.overdueSince == nil && byPlan["busy"]?.last?.stored.record.originalID == 6)
        #expect(byPlan["rhythm"]?.overdueSince != nil)
        #expect(byPlan["new"]?.last == nil && byPlan["new"]?.overdueSince == nil)
        let alerts = try await hub.administration.alerts()
        #expect(Set(alerts.map { "\($0.subject) \($0.plan)" }) == ["failed bad", "overdue late", "overdue rhythm"])
        #expect(alerts.contains { $0.text.hasSuffix("failed: disk full") })

        hub.clock.advance(seconds: 3 * day)
        let later = try await hub.administration.lastResults()
        #expect(later.first { $0.plan == "new" }?.overdueSince == now + 2 * day)
    }
}

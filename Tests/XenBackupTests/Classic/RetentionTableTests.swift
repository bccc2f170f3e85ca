import BackupFormats
import CairnTestSupport
import Platform
import Testing

@testable import XenBackup

@Suite("The table of retention")
struct RetentionTableTests {
    private static func time(_ text: String) -> Int64 { (BackupTime.parse(text) ?? 0) * 1000 }

    private static func rule(
        _ count: Int, _ periods: [String: (Int, JSONObject)] = [:], zone: String? = "UTC"
    ) -> RetentionRule {
        RetentionRule(
            count: count, longTerm: periods.mapValues { .init(retention: $0.0, settings: $0.1) }, timeZone: zone)
    }

    /// What stays of backups at these times.
    private static func kept(_ times: [String], _ rule: RetentionRule) throws -> [String] {
        let dropped = Set(try RetentionTable.dropped(times.map(time), by: rule))
        return times.indices.filter { !dropped.contains($0) }.map { times[$0] }
    }

    @Test("keeps the newest by number", arguments: [(0, 0), (1, 1), (3, 3), (9, 5)])
    func count(of count: Int, kept: Int) throws {
        let times: [Int64] = [1, 2, 3, 4, 5]
        #expect(try RetentionTable.dropped(times, by: Self.rule(count)) == Array(0..<(5 - kept)))
        #expect(
            try RetentionTable.dropped(times, by: Self.rule(count), isBefore: true)
                == Array(0..<min(5, 5 - kept + (count > 5 ? 0 : count > 0 ? 1 : 0))))
    }

    @Test("keeps the oldest of each bucket, and counts only buckets that hold something")
    func daily() throws {
        let times = [
            "2024-01-01T06:00:00Z", "2024-01-01T18:00:00Z", "2024-01-05T03:00:00Z", "2024-01-05T04:00:00Z",
            "2024-01-06T01:00:00Z", "2024-01-06T02:00:00Z",
        ]
        #expect(
            try Self.kept(times, Self.rule(1, ["daily": (2, [:])]))
                == ["2024-01-05T03:00:00Z", "2024-01-06T01:00:00Z", "2024-01-06T02:00:00Z"])
        #expect(try Self.kept(times, Self.rule(0, ["daily": (9, [:])])) == [times[0], times[2], times[4]])
    }

    @Test("begins days, weeks, months and years where the settings say")
    func settings() throws {
        let night = ["2024-01-01T23:00:00Z", "2024-01-02T01:00:00Z", "2024-01-02T07:00:00Z"]
        #expect(try Self.kept(night, Self.rule(0, ["daily": (9, ["firstHourOfTheDay": 6])])) == [night[0], night[2]])
        // 2024-06-01 was a Saturday.
        let week = ["2024-06-01T12:00:00Z", "2024-06-02T12:00:00Z", "2024-06-03T12:00:00Z", "2024-06-08T12:00:00Z"]
        #expect(try Self.kept(week, Self.rule(0, ["weekly": (9, [:])])) == [week[0], week[2]])
        #expect(try Self.kept(week, Self.rule(0, ["weekly": (9, ["firstDayOfWeek": 0])])) == [week[0], week[1]])
        #expect(try Self.kept(week, Self.rule(0, ["weekly": (9, ["firstDayOfWeek": 6])])) == [week[0], week[3]])
        let month = ["2024-01-10T00:00:00Z", "2024-01-20T00:00:00Z", "2024-02-10T00:00:00Z", "2024-02-20T00:00:00Z"]
        #expect(try Self.kept(month, Self.rule(0, ["monthly": (9, [:])])) == [month[0], month[2]])
        #expect(
            try Self.kept(month, Self.rule(0, ["monthly": (9, ["firstDayOfMonth": 15])])) == [
                month[0], month[1], month[3],
            ])
        let year = ["2022-12-31T23:30:00Z", "2023-01-20T00:00:00Z", "2023-03-01T00:00:00Z", "2024-01-05T00:00:00Z"]
        #expect(try Self.kept(year, Self.rule(0, ["yearly": (9, [:])])) == [year[0], year[1], year[3]])
        #expect(try Self.kept(year, Self.rule(0, ["yearly": (9, ["firstDayOfYear": 32])])) == [year[0], year[2]])
        #expect(try Self.kept(year, Self.rule(0, ["yearly": (1, [:])])) == [year[3]])
    }

    @Test("goes by the clock on the wall, in summer and in winter")
    func zones() throws {
        // In Berlin the day turns at 22:00 UTC in summer and at 23:00 UTC in winter.
        let summer = ["2024-07-01T21:30:00Z", "2024-07-01T22:30:00Z"]
        let winter = ["2024-12-01T21:30:00Z", "2024-12-01T22:30:00Z", "2024-12-01T23:30:00Z"]
        let berlin = Self.rule(0, ["daily": (9, [:])], zone: "Europe/Berlin")
        #expect(try Self.kept(summer, berlin) == summer)
        #expect(try Self.kept(winter, berlin) == [winter[0], winter[2]])
        // The turn of the clocks itself: 2024-03-31 has 23 hours, 2024-10-27 has 25.
        let turn = ["2024-03-30T23:00:00Z", "2024-03-31T21:59:59Z", "2024-03-31T22:00:00Z"]
        #expect(try Self.kept(turn, berlin) == [turn[0], turn[2]])
        let back = ["2024-10-26T22:00:00Z", "2024-10-27T22:59:59Z", "2024-10-27T23:00:00Z"]
        #expect(try Self.kept(back, berlin) == [back[0], back[2]])
        // Far in the future only the rule is left; half-hours and the south as well.
        let late = ["2090-07-01T21:30:00Z", "2090-07-01T22:30:00Z"]
        #expect(try Self.kept(late, berlin) == late)
        let kolkata = Self.rule(0, ["daily": (9, [:])], zone: "Asia/Kolkata")
        #expect(try Self.kept(["2024-07-01T18:29:00Z", "2024-07-01T18:31:00Z"], kolkata).count == 2)
        #expect(try ZoneRules(named: "Australia/Sydney").offset(at: 3_786_912_000) == 39600)
        #expect(try ZoneRules(named: "Australia/Sydney").offset(at: 3_802_500_000) == 36000)
        #expect(try ZoneRules(named: "America/New_York").offset(at: 0) == -18000)
    }

    @Test("reads files of the zone database that are cut or changed without harm")
    func damagedZones() throws {
        let file = try FileSystem.read("\(ZoneRules.folder)/Europe/Berlin", limit: ZoneRules.maxFileBytes)
        #expect(throws: FormatError.self) { try ZoneRules(parsing: []) }
        for count in stride(from: 0, to: file.count, by: 3) {
            _ = try? ZoneRules(parsing: Array(file.prefix(count))).offset(at: 4_000_000_000)
        }
        var random = SeededRandom(seed: 1)
        for _ in 0..<300 {
            var changed = file
            for _ in 0..<4 {
                changed[Int.random(in: 0..<file.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? ZoneRules(parsing: changed).offset(at: 4_000_000_000)
        }
        for rule in [
            "", "X", "CET", "CET-", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "<+0330>-3:30",
            "A9999",
        ] {
            _ = ZoneRule(rule)?.offset(at: 0)
        }
        #expect(ZoneRule("<+0330>-3:30")?.offset(at: 0) == 12_600)
        #expect(ZoneRule("IST-2IDT,J60/26,300")?.offset(at: 1_720_000_000) == 10_800)
        #expect(ZoneRule("CET-1CEST,M3.5.0") == nil)
    }

    @Test("labels backups by the same buckets")
    func labels() throws {
        let rule = Self.rule(
            1, ["daily": (1, [:]), "weekly": (1, [:]), "monthly": (1, [:]), "yearly": (1, [:])], zone: "Europe/Berlin")
        #expect(
            try RetentionTable.labels(Self.time("2023-11-14T23:13:20Z"), by: rule)
                == ["daily=2023-11-15", "weekly=2023-11-13", "monthly=2023-11", "yearly=2023"])
    }

    @Test("refuses what makes no sense")
    func refusals() async {
        let times: [Int64] = [1, 2]
        for rule in [
            Self.rule(1, ["hourly": (1, [:])]), Self.rule(1, ["daily": (0, [:])]), Self.rule(1, ["daily": (-1, [:])]),
            Self.rule(1, ["daily": (1, [:])], zone: nil), Self.rule(1, ["daily": (1, [:])], zone: "Mars/Olympus"),
            Self.rule(1, ["daily": (1, [:])], zone: "../../etc/passwd"),
            Self.rule(1, ["daily": (1, ["firstHourOfTheDay": 24])]),
            Self.rule(1, ["monthly": (1, ["firstDayOfMonth": "x"])]),
        ] {
            await expectFailure(.invalidInput) { try RetentionTable.dropped(times, by: rule) }
            await expectFailure(.invalidInput) { try RetentionTable.check(rule) }
        }
        for times: [Int64] in [[2, 1], [1, 1]] {
            await expectFailure(.invalidInput) { try RetentionTable.dropped(times, by: Self.rule(1)) }
        }
    }

    @Test("names moments as files do")
    func dates() {
        #expect(BackupDate.text(1_700_000_000_999) == "20231114T221320Z")
        #expect(BackupDate.text(-1) == "19691231T235959Z")
        #expect(BackupDate.parse("20231114T221320Z") == 1_700_000_000_000)
        for bad in ["", "20231114T221320", "20231314T221320Z", "2023111XT221320Z", "20231114T221320Z "] {
            #expect(BackupDate.parse(bad) == nil)
        }
    }
}

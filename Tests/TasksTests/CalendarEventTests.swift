import BackupFormats
import Testing

@testable import Tasks

/// Central European time: an hour ahead of UTC, two in summer; the clock changes at 01:00 UTC. Good for 2024 and 2025.
private func berlin(_ time: Int64) -> Int {
    let summers = [
        ("2024-03-31T01:00:00Z", "2024-10-27T01:00:00Z"), ("2025-03-30T01:00:00Z", "2025-10-26T01:00:00Z"),
    ]
    let isSummer = summers.contains { start, end in
        guard let start = BackupTime.parse(start), let end = BackupTime.parse(end) else { return false }
        return (start..<end).contains(time)
    }
    return isSummer ? 7200 : 3600
}

/// The next three times of an event as text in UTC.
private func nextThree(_ text: String, after start: String, offset: (Int64) -> Int = { _ in 0 }) throws -> [String] {
    let event = try CalendarEvent(parsing: text)
    var time = try #require(BackupTime.parse(start))
    var found: [String] = []
    while found.count < 3, let next = event.next(after: time, offset: offset) {
        #expect(next > time)
        found.append(BackupTime.text(next))
        time = next
    }
    return found
}

@Suite("A calendar event")
struct CalendarEventTests {
    /// After the beginning of 2024-06-01, a Saturday.
    static let examples: [(String, [String])] = [
        ("minutely", ["2024-06-01T00:01:00Z", "2024-06-01T00:02:00Z", "2024-06-01T00:03:00Z"]),
        ("hourly", ["2024-06-01T01:00:00Z", "2024-06-01T02:00:00Z", "2024-06-01T03:00:00Z"]),
        ("daily", ["2024-06-02T00:00:00Z", "2024-06-03T00:00:00Z", "2024-06-04T00:00:00Z"]),
        ("weekly", ["2024-06-03T00:00:00Z", "2024-06-10T00:00:00Z", "2024-06-17T00:00:00Z"]),
        ("monthly", ["2024-07-01T00:00:00Z", "2024-08-01T00:00:00Z", "2024-09-01T00:00:00Z"]),
        ("quarterly", ["2024-07-01T00:00:00Z", "2024-10-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
        ("semiannually", ["2024-07-01T00:00:00Z", "2025-01-01T00:00:00Z", "2025-07-01T00:00:00Z"]),
        ("semi-annually UTC", ["2024-07-01T00:00:00Z", "2025-01-01T00:00:00Z", "2025-07-01T00:00:00Z"]),
        ("yearly", ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        ("annually", ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        ("mon..fri 8..17,22:0/15", ["2024-06-03T08:00:00Z", "2024-06-03T08:15:00Z", "2024-06-03T08:30:00Z"]),
        ("*:00/5", ["2024-06-01T00:05:00Z", "2024-06-01T00:10:00Z", "2024-06-01T00:15:00Z"]),
        ("*:0..20/10", ["2024-06-01T00:10:00Z", "2024-06-01T00:20:00Z", "2024-06-01T01:00:00Z"]),
        ("sat *-1..7 15:00", ["2024-06-01T15:00:00Z", "2024-07-06T15:00:00Z", "2024-08-03T15:00:00Z"]),
        ("2015-10-21", []),
        ("2030-10-21", ["2030-10-21T00:00:00Z"]),
        ("30", ["2024-06-01T00:30:00Z", "2024-06-01T01:30:00Z", "2024-06-01T02:30:00Z"]),
        ("Sat..Mon 6:00", ["2024-06-01T06:00:00Z", "2024-06-02T06:00:00Z", "2024-06-03T06:00:00Z"]),
        ("WEDNESDAY,fri", ["2024-06-05T00:00:00Z", "2024-06-07T00:00:00Z", "2024-06-12T00:00:00Z"]),
        ("2-29 12:00", ["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z", "2036-02-29T12:00:00Z"]),
        ("mon 2-29", ["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z", "2112-02-29T00:00:00Z"]),
        ("2-30", []),
        ("21:00:30/20", ["2024-06-01T21:00:30Z", "2024-06-01T21:00:50Z", "2024-06-02T21:00:30Z"]),
        ("*-*/10 3:00", ["2024-06-01T03:00:00Z", "2024-06-11T03:00:00Z", "2024-06-21T03:00:00Z"]),
        ("2024/2-1-1", ["2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]),
        ("23:59:59", ["2024-06-01T23:59:59Z", "2024-06-02T23:59:59Z", "2024-06-03T23:59:59Z"]),
    ]

    static let changes: [(String, String, [String])] = [
        // Set forth on 31 March 2024: 02:00 is followed by 03:00.
        ("daily", "2024-03-30T12:00:00Z", ["2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", "2024-04-01T22:00:00Z"]),
        ("2:30", "2024-03-30T12:00:00Z", ["2024-03-31T01:30:00Z", "2024-04-01T00:30:00Z", "2024-04-02T00:30:00Z"]),
        (
            "hourly", "2024-03-30T23:30:00Z",
            ["2024-03-31T00:00:00Z", "2024-03-31T01:00:00Z", "2024-03-31T02:00:00Z"]
        ),
        ("4:00", "2024-03-30T12:00:00Z", ["2024-03-31T02:00:00Z", "2024-04-01T02:00:00Z", "2024-04-02T02:00:00Z"]),
        // Set back on 27 October 2024: 02:00 to 03:00 is there twice.
        ("2:30", "2024-10-26T12:00:00Z", ["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z", "2024-10-29T01:30:00Z"]),
        ("2:30", "2024-10-27T00:45:00Z", ["2024-10-28T01:30:00Z", "2024-10-29T01:30:00Z", "2024-10-30T01:30:00Z"]),
        ("2:30", "2024-10-27T01:15:00Z", ["2024-10-28T01:30:00Z", "2024-10-29T01:30:00Z", "2024-10-30T01:30:00Z"]),
        (
            "hourly", "2024-10-26T23:30:00Z",
            ["2024-10-27T00:00:00Z", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z"]
        ),
        ("3:00", "2024-10-26T12:00:00Z", ["2024-10-27T02:00:00Z", "2024-10-28T02:00:00Z", "2024-10-29T02:00:00Z"]),
        ("2:30 UTC", "2024-10-26T12:00:00Z", ["2024-10-27T02:30:00Z", "2024-10-28T02:30:00Z", "2024-10-29T02:30:00Z"]),
        ("yearly", "2024-01-15T00:00:00Z", ["2024-12-31T23:00:00Z", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z"]),
    ]

    @Test("comes at the next three times", arguments: examples)
    func comes(text: String, times: [String]) throws {
        #expect(try nextThree(text, after: "2024-06-01T00:00:00Z") == times)
        #expect(try CalendarEvent(parsing: text).description == text)
    }

    @Test("follows the clock of its place when that is set forth and back", arguments: changes)
    func followsClock(text: String, start: String, times: [String]) throws {
        #expect(try nextThree(text, after: start, offset: berlin) == times)
    }

    @Test(
        "is refused where it breaks the form",
        arguments: [
            "", " ", "UTC", "foo", "mon..", "mon,", "0:60", "24:00", "13-1", "1-32", "2200-1-1", "1-2-3-4", "1:2:3:4",
            "*/0", "5..3:00", "1..2..3:00", "-1", "daily daily", "mon 1-1 2:00 3:00", "8:0/", "~1", "1.5:00",
            "12:00 utc", "*,5:00", String(repeating: "1,", count: 200) + "1:00",
        ])
    func refused(text: String) {
        #expect(throws: FormatError.self) { try CalendarEvent(parsing: text) }
    }
}

@Suite("A length of time")
struct TimeSpanTests {
    static let sums: [(String, Double)] = [
        ("5", 5), ("2d", 172_800), ("2 d 12h", 216_000), ("1min 1s", 61), ("1M", 2_630_016), ("1.5 hours", 5400),
        ("1y", 31_557_600), ("10ms", 0.01), ("1w 5", 604_805),
    ]

    @Test("is the sum of its parts", arguments: sums)
    func sum(text: String, seconds: Double) throws {
        #expect(abs(try TimeSpan.seconds(parsing: text) - seconds) < 1e-6)
    }

    @Test("is refused where a number or a unit is none", arguments: ["", "d", "1x", "1 2", "1..2s", "-1s"])
    func refused(text: String) {
        #expect(throws: FormatError.self) { try TimeSpan.seconds(parsing: text) }
    }
}

import BackupFormats
import CairnTestSupport
import Testing

@testable import Tasks

@Suite("Calendar events in general")
struct CalendarPropertyTests {
    /// Whether a time in UTC matches, field by field.
    static func matches(_ event: CalendarEvent, _ time: Int64) -> Bool {
        let parts = BackupTime.text(time).split(whereSeparator: { "-T:Z".contains($0) }).compactMap { Int($0) }
        guard parts.count == 6 else { return false }
        let fields = [event.years, event.months, event.days, event.hours, event.minutes, event.seconds]
        // 1970-01-01 was a Thursday; Monday is 0.
        return event.weekdays.contains(Int((time / 86400 + 3) % 7))
            && zip(fields, parts).allSatisfy { $0.contains($1) }
    }

    static func field(_ range: ClosedRange<Int>, _ random: inout SeededRandom) -> String {
        let first = Int.random(in: range, using: &random)
        let last = Int.random(in: first...range.upperBound, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return "*"
        case 1: return "*/\(Int.random(in: 1...max(1, range.upperBound / 2), using: &random))"
        case 2: return "\(first)..\(last)"
        case 3: return "\(first)/\(Int.random(in: 1...max(1, range.upperBound / 2), using: &random))"
        case 4: return "\(first),\(last)"
        default: return "\(first)"
        }
    }

    @Test("come at the first minute that matches, and at none before")
    func bruteForce() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        let days = ["", "mon..wed ", "sat,sun ", "fri..mon ", "Thursday "]
        for _ in 0..<25 {
            let date =
                Bool.random(using: &random) ? "\(Self.field(1...12, &random))-\(Self.field(1...31, &random)) " : ""
            let text =
                (days.randomElement(using: &random) ?? "") + date
                + "\(Self.field(0...23, &random)):\(Self.field(0...59, &random))"
            let event = try CalendarEvent(parsing: text)
            // Around a leap day.
            let start = 1_709_164_800 + Int64.random(in: 0..<86400, using: &random)
            let next = event.next(after: start) { _ in 0 }
            let limit = start + 86400
            var expected = start - start % 60 + 60
            while expected <= limit, !Self.matches(event, expected) { expected += 60 }
            if expected <= limit {
                #expect(next == expected, "'\(text)' after \(start), seed \(seed)")
            } else {
                #expect(next.map { $0 > limit && Self.matches(event, $0) } ?? true, "'\(text)', seed \(seed)")
            }
        }
    }

    @Test("are refused or come, whatever stands in them")
    func anyText() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        let pieces = [
            "0", "1", "59", "-", "*", "/", "..", ",", ":", " ", "mon", "SUN", "UTC", "daily", "é",
            "99999999999999999999",
        ]
        for _ in 0..<2000 {
            let text = (0..<Int.random(in: 0..<9, using: &random)).map { _ in
                pieces.randomElement(using: &random) ?? ""
            }.joined()
            guard let event = try? CalendarEvent(parsing: text) else { continue }
            let next = event.next(after: 1_700_000_000) { _ in 3600 }
            #expect((next ?? .max) > 1_700_000_000, "'\(text)', seed \(seed)")
        }
    }
}

import BackupFormats
import CairnTestSupport
import Testing

@testable import BackupServer

@Suite("A prune")
struct PruneSelectionTests {
    /// One case of the original: options, and for each snapshot whether it stays.
    struct Recorded: CustomTestStringConvertible {
        let name: String
        let options: PruneOptions
        let expected: [(candidate: PruneCandidate, isKept: Bool)]

        var testDescription: String { name }

        static let all: [Recorded] = (try? load()) ?? []

        private static func load() throws -> [Recorded] {
            try Fixtures.text("pbs/prune/cases.txt").split(separator: "\n").map { line in
                let halves = line.split(separator: ":", maxSplits: 1)
                let name = String(halves[0])
                let words = halves[1].split(separator: " ")
                func count(_ rule: String) -> Int64? {
                    words.firstIndex(of: "--keep-\(rule)").flatMap { Int64(words[$0 + 1]) }
                }
                let lines = try Fixtures.text("pbs/prune/\(name).txt").split(separator: "\n")
                return Recorded(
                    name: name,
                    options: PruneOptions(
                        last: count("last"), hourly: count("hourly"), daily: count("daily"), weekly: count("weekly"),
                        monthly: count("monthly"), yearly: count("yearly")),
                    expected: lines.map { line in
                        let words = line.split(separator: " ")
                        return (
                            PruneCandidate(time: Int64(words[0]) ?? 0, isProtected: words.contains("protected")),
                            words[1] == "keep"
                        )
                    })
            }
        }
    }

    @Test("has eleven recorded cases to agree with")
    func recordsAreThere() {
        #expect(Recorded.all.count == 11)
    }

    @Test("decides as the original did", arguments: Recorded.all)
    func agrees(with recorded: Recorded) {
        let decided = PruneSelection.verdicts(recorded.expected.map(\.candidate).shuffled(), options: recorded.options)
        {
            _ in 0
        }
        #expect(decided.map(\.candidate) == recorded.expected.map(\.candidate))
        #expect(decided.map(\.mark.isKept) == recorded.expected.map(\.isKept))
    }

    @Test("keeps everything without a rule")
    func noRule() {
        let decided = PruneSelection.verdicts(
            [PruneCandidate(time: 1), PruneCandidate(time: 2, isFinished: false)], options: PruneOptions()
        ) { _ in 0 }
        #expect(decided.map(\.mark) == [.keep, .keep])
    }

    @Test("keeps an unfinished snapshot only where it is the newest of all")
    func unfinished() {
        func marks(_ isFinished: [Bool]) -> [PruneMark] {
            let candidates = isFinished.enumerated().map {
                PruneCandidate(time: Int64($0.offset + 1), isFinished: $0.element)
            }
            return PruneSelection.verdicts(candidates, options: PruneOptions(last: 1)) { _ in 0 }.map(\.mark)
        }
        #expect(marks([true, false]) == [.keep, .keepPartial])
        #expect(marks([false, true]) == [.remove, .keep])
        #expect(marks([true, false, false]) == [.keep, .remove, .keepPartial])
    }

    @Test("never removes what a session is writing")
    func running() {
        let candidates = [PruneCandidate(time: 1, isFinished: false, isRunning: true), PruneCandidate(time: 2)]
        #expect(
            PruneSelection.verdicts(candidates, options: PruneOptions(last: 1)) { _ in 0 }.map(\.mark) == [
                .keepPartial, .keep,
            ])
    }

    @Test("does not count protected snapshots")
    func protected() {
        let candidates = [
            PruneCandidate(time: 1), PruneCandidate(time: 2, isProtected: true),
            PruneCandidate(time: 3, isProtected: true),
        ]
        #expect(
            PruneSelection.verdicts(candidates, options: PruneOptions(last: 1)) { _ in 0 }.map(\.mark) == [
                .keep, .protected, .protected,
            ])
    }

    @Test("cuts days where they end locally")
    func localDays() {
        // 23:00 and 01:00 UTC: two days in London, one in Karachi (+5 h).
        let candidates = [PruneCandidate(time: 86400 * 10 - 3600), PruneCandidate(time: 86400 * 10 + 3600)]
        let options = PruneOptions(daily: 2)
        #expect(PruneSelection.verdicts(candidates, options: options) { _ in 0 }.map(\.mark) == [.keep, .keep])
        #expect(
            PruneSelection.verdicts(candidates, options: options) { _ in 5 * 3600 }.map(\.mark) == [.remove, .keep])
    }

    @Test("counts ISO weeks across the end of a year")
    func isoWeeks() throws {
        // Thursday 2020-12-31 and Sunday 2021-01-03 are both in week 53 of 2020; Monday the 4th is not.
        let times = try ["2020-12-31T12:00:00Z", "2021-01-03T12:00:00Z", "2021-01-04T12:00:00Z"].map {
            try #require(BackupTime.parse($0))
        }
        let marks = PruneSelection.verdicts(times.map { PruneCandidate(time: $0) }, options: PruneOptions(weekly: 5)) {
            _ in 0
        }.map(\.mark)
        #expect(marks == [.remove, .keep, .keep])
    }
}

import CairnTestSupport
import Foundation
import Synchronization

/// Gives random inputs to one layer; what happens is compared with what must.
protocol Fuzzer: Sendable {
    /// - Parameter random: All choices come from it, so that a seed repeats them.
    init(random: SeededRandom) throws
    /// Gives one input, or a few that belong together.
    ///
    /// - Returns: How many.
    /// - Throws: ``FuzzFinding``.
    mutating func step() throws -> Int
}

/// What an input did that it must not.
struct FuzzFinding: Error, CustomStringConvertible {
    let what: String
    let input: [UInt8]

    var description: String { "\(what); input \(input.map { String(format: "%02x", $0) }.joined())" }
}

/// A run of a fuzzer, meant for a process of its own: a crash is seen from outside, and its memory is its own.
struct FuzzRun {
    /// All layers together get 100,000 inputs, or ten million with `CAIRN_SOAK=1`.
    static let total = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == "1" ? 10_000_000 : 100_000
    /// Resident memory may differ by so much between the first fifth of a run and its end.
    static let allowedGrowth = 96 << 20
    /// An input that takes longer hangs.
    static let patience = Duration.seconds(60)

    let seed: UInt64
    let count: Int
    let width = max(2, ProcessInfo.processInfo.activeProcessorCount)

    /// One to be printed, so that a run can be repeated with `CAIRN_SEED`.
    static func seed(of layer: String) -> UInt64 {
        let seed =
            ProcessInfo.processInfo.environment["CAIRN_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1 << 32)
        print("seed of the \(layer): \(seed)")
        return seed
    }

    /// Ends the process: with 0 when all went well, else with 1 and the finding on standard error.
    func run<F: Fuzzer>(_ type: F.Type) -> Never {
        do {
            let clock = ContinuousClock()
            let begin = clock.now
            var fuzzers = try (0..<width).map { try F(random: SeededRandom(seed: seed &+ UInt64($0) << 32)) }
            var slowest = try go(&fuzzers, count / 5)
            let early = Self.residentBytes()
            slowest = max(slowest, try go(&fuzzers, count - count / 5))
            let late = Self.residentBytes()
            let took = clock.now - begin
            print(
                """
                \(F.self): \(count) inputs in \(took.formatted(.units(allowed: [.seconds, .milliseconds]))), \
                slowest \(slowest.formatted(.units(allowed: [.milliseconds]))), \
                resident \(early >> 20) MiB, then \(late >> 20) MiB
                """)
            guard late - early <= Self.allowedGrowth else { Self.fail("memory grows from \(early) to \(late) bytes") }
            guard slowest <= Self.patience else { Self.fail("an input took \(slowest)") }
            exit(0)
        } catch {
            Self.fail("\(error)")
        }
    }

    private static func fail(_ what: String) -> Never {
        FileHandle.standardError.write(Data("\(what)\n".utf8))
        exit(1)
    }

    /// - Returns: The longest time of a step.
    private func go<F: Fuzzer>(_ fuzzers: inout [F], _ count: Int) throws -> Duration {
        let share = count / width + 1
        let results = Mutex<[Int: Result<(F, Duration), any Error>]>([:])
        let begun = fuzzers
        DispatchQueue.concurrentPerform(iterations: width) { place in
            var fuzzer = begun[place]
            let result = Result { () throws -> (F, Duration) in
                let clock = ContinuousClock()
                var slowest = Duration.zero
                var given = 0
                var last = clock.now
                while given < share {
                    given += try fuzzer.step()
                    let now = clock.now
                    slowest = max(slowest, now - last)
                    last = now
                }
                return (fuzzer, slowest)
            }
            results.withLock { $0[place] = result }
        }
        var slowest = Duration.zero
        for place in 0..<width {
            guard let (fuzzer, time) = try results.withLock({ $0[place] })?.get() else { continue }
            fuzzers[place] = fuzzer
            slowest = max(slowest, time)
        }
        return slowest
    }

    private static func residentBytes() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
    }
}

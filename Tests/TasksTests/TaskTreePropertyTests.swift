import BackupFormats
import CairnTestSupport
import Synchronization
import Testing

@testable import Tasks

@Suite("Random trees of tasks")
struct TaskTreePropertyTests {
    /// Draws numbers for work that runs at once in many places.
    private final class Dice: Sendable {
        private let random: Mutex<SeededRandom>

        init(seed: UInt64) { random = Mutex(SeededRandom(seed: seed)) }

        func roll(_ count: Int) -> Int { random.withLock { Int.random(in: 0..<count, using: &$0) } }
    }

    private static func work(_ node: TaskNode, _ dice: Dice, depth: Int) async throws {
        for _ in 0..<dice.roll(4) {
            switch dice.roll(5) {
            case 0: node.info("info \(dice.roll(10))")
            case 1: node.warning("warning", ["isRetry": .bool(dice.roll(2) == 0)])
            case 2: node.progress(Double(dice.roll(100)) / 100)
            case 3 where depth < 4:
                _ = try? await node.run("part \(dice.roll(3))", ["id": .integer(dice.roll(3))]) { child in
                    try await work(child, dice, depth: depth + 1)
                }
            default:
                await withTaskGroup { group in
                    for _ in 0..<(depth < 3 ? 3 : 0) {
                        group.addTask {
                            _ = try? await node.run("side") { try await work($0, dice, depth: depth + 1) }
                        }
                    }
                }
            }
        }
        if dice.roll(5) == 0 { node.cancel() }
        if dice.roll(4) == 0 { throw BackupFailure(.unavailable, "by chance") }
    }

    @Test("are nested, with ids of their own that sort by time, and fold to what is shown", arguments: 0..<30)
    func nested(_ number: Int) async throws {
        let seed = UInt64(number)
        let setting = try TreeSetting()
        let dice = Dice(seed: seed)
        let root = try setting.start("backup run", ["jobId": "j"])
        _ = try? await root.run { node in
            for _ in 0..<3 { try await Self.work(node, dice, depth: 0) }
        }
        let events = try await setting.events(root)

        var open: [String: String?] = [:]
        var seen: Set<String> = []
        var lastID = ""
        var lastTime: Int64 = 0
        var folded = TaskFold()
        for (index, event) in events.enumerated() {
            #expect(event.time >= lastTime)
            lastTime = event.time
            let isTaken = folded.apply(event)
            #expect(isTaken, "seed \(seed): the fold refuses event \(index)")
            switch event.kind {
            case .start(let parent, _, _):
                let isNew = seen.insert(event.taskID).inserted
                #expect(isNew, "seed \(seed): \(event.taskID) twice")
                #expect(event.taskID > lastID)
                lastID = event.taskID
                #expect((parent == nil) == (index == 0))
                if let parent { #expect(open[parent] != nil, "seed \(seed): started below an ended task") }
                open[event.taskID] = .some(parent)
            case .end:
                #expect(!open.values.contains(.some(event.taskID)), "seed \(seed): ended before its child")
                let ended = open.removeValue(forKey: event.taskID)
                #expect(ended != nil)
                #expect((event.taskID == root.id) == (index == events.count - 1))
            default: #expect(open[event.taskID] != nil, "seed \(seed): event of a task that is not open")
            }
        }
        #expect(open.isEmpty)
        var shown = try await setting.trees.task(root.id)
        shown["upid"] = nil
        #expect(shown == folded.json(of: root.id))
    }

    @Test("get ids that sort as they were made, also where the clock goes back")
    func ids() throws {
        let ids = TaskIDs()
        var made: [String] = []
        for time in [1_700_000_000_000, 1_700_000_000_000, 1_600_000_000_000, 1_700_000_000_001] as [Int64] {
            for _ in 0..<2000 { made.append(ids.next(at: time)) }
        }
        #expect(made == made.sorted())
        #expect(Set(made).count == made.count)
        #expect(made.allSatisfy { $0.wholeMatch(of: /[0-9a-z]{9}-[0-9a-z]{12}/) != nil })
        #expect(TaskIDs.time(of: made[0]) == 1_700_000_000_000)
    }
}

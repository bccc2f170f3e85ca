import BackupFormats
import Platform
import Synchronization

/// Gives ids to tasks of trees: nine base-36 digits of Unix milliseconds, a dash, four digits that count within the
/// millisecond, eight random ones. They sort by creation, also where the clock is set back, and are unique between
/// servers. (Spec: xo-proxy §1.9 rule 3.)
final class TaskIDs: Sendable {
    private static let timeDigits = 9
    private static let countDigits = 4
    private static let randomDigits = 8
    private static let maxCount = 36 * 36 * 36 * 36

    private struct State {
        var time: Int64 = 0
        var count = 0
    }
    private let state = Mutex(State())

    func next(at milliseconds: Int64) -> String {
        let (time, count) = state.withLock { state in
            if milliseconds > state.time {
                state.time = milliseconds
                state.count = 0
            } else {
                state.count += 1
                if state.count == Self.maxCount {
                    state.time += 1
                    state.count = 0
                }
            }
            return (state.time, state.count)
        }
        return Self.digits(time, Self.timeDigits) + "-" + Self.digits(Int64(count), Self.countDigits)
            + Self.random(Self.randomDigits)
    }

    /// When the task of this id was made, Unix milliseconds; nil where it is no such id.
    static func time(of id: String) -> Int64? {
        let parts = id.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == timeDigits, isWord(parts[0]), isWord(parts[1]) else {
            return nil
        }
        return Int64(parts[0], radix: 36)
    }

    /// The id that a task of the server has among the trees, always the same.
    static func id(of upid: UPID) -> String {
        digits(upid.startTime * 1000, timeDigits) + "-" + digits(Int64(upid.processStart), 7)
            + digits(Int64(upid.pid), 7) + digits(Int64(clamping: upid.taskID), 4)
    }

    static func random(_ count: Int) -> String {
        var random = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in alphabet[Int.random(in: 0..<36, using: &random)] })
    }

    private static let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyz")

    private static func digits(_ value: Int64, _ width: Int) -> String {
        let text = String(max(0, value), radix: 36)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    private static func isWord(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.count <= 40
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
            }
    }
}

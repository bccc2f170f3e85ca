import BackupFormats
import Synchronization

/// Numbers from a start to a stop, the stop excluded.
final class NumberRange: Sendable {
    /// Whole numbers up to here are exact.
    private static let exact = 9_007_199_254_740_992.0

    private let start: Double
    private let stop: Double
    private let step: Double
    private let count = Atomic(0)

    init(_ parameters: JSONObject) throws {
        start = parameters["start"]?.doubleValue ?? 0
        stop = parameters["stop"]?.doubleValue ?? 0
        step = parameters["step"]?.doubleValue ?? (stop < start ? -1 : 1)
        guard step != 0, step.isFinite, start.isFinite, stop.isFinite else {
            throw RPCFailure.other("the step must not be 0, and all numbers must be finite")
        }
        guard start + step != start else { throw RPCFailure.other("the step is too small") }
    }

    func next() -> JSONValue? {
        let index = count.add(1, ordering: .relaxed).oldValue
        let value = start + Double(index) * step
        guard step > 0 ? value < stop : value > stop else { return nil }
        return value.rounded() == value && abs(value) < Self.exact ? .integer(Int64(value)) : .number("\(value)")
    }
}

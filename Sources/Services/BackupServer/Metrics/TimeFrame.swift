/// A stretch of the past and how finely it is remembered. (Spec: rest E.4, rrd.)
package enum TimeFrame: String, CaseIterable, Sendable {
    case hour, day, week, month, year, decade

    /// Seconds between two values.
    package var step: Int64 {
        switch self {
        case .hour, .day: 60
        case .week, .month: 1800
        case .year: 6 * 3600
        case .decade: 7 * 86400
        }
    }

    /// Seconds that it reaches back.
    package var length: Int64 {
        switch self {
        case .hour: 3600
        case .day: 86400
        case .week: 7 * 86400
        case .month: 31 * 86400
        case .year: 366 * 86400
        case .decade: 3660 * 86400
        }
    }

    /// Each way of remembering with the longest time for which it is needed.
    static let kept: [(step: Int64, length: Int64)] = [TimeFrame.day, .month, .year, .decade].map {
        ($0.step, $0.length)
    }
}

/// What becomes of the values of one stretch.
package enum Consolidation: String, CaseIterable, Sendable {
    case maximum = "MAX"
    case average = "AVERAGE"
}

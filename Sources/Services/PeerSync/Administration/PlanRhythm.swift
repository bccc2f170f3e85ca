package import PeerSyncProtocol

/// When the next backup of a member's plan is due, as far as the member lets see its schedule.
package enum PlanRhythm {
    /// How late a backup may be before it is called overdue.
    package static let patience: Int64 = 3600
    /// Times of the clock in the world differ by no more; a backup that is further from its schedule was made by hand.
    private static let maxShift: Int64 = 26 * 3600
    private static let day: Int64 = 86_400

    package enum Due: Hashable, Sendable {
        /// Unix seconds.
        case at(Int64)
        /// By hand only.
        case never
        /// There is no schedule that can be read.
        case unknown
    }

    /// - Parameters:
    ///   - last: When the last backup began, or, where there is none, since when the plan is known; Unix seconds.
    ///   - isBackup: Whether `last` is a backup.
    ///   - offset: Seconds that local time is ahead of UTC at a time, here.
    package static func due(
        _ schedule: WireSchedule, last: Int64, isBackup: Bool, offset: (Int64) -> Int
    ) -> Due {
        switch schedule.schedule {
        case nil: return .unknown
        case .disabled(let isDisabled): return isDisabled ? .never : .unknown
        case .maxFrequencyDays(let days): return days > 0 ? .at(last + Int64(days) * day) : .unknown
        case .maxFrequencyHours(let hours): return hours > 0 ? .at(last + Int64(hours) * 3600) : .unknown
        case .cron(let text):
            guard let cron = CronSchedule(parsing: text) else { return .unknown }
            let isUTC = schedule.clock == .utc
            func next(after time: Int64) -> Int64? { cron.next(after: time, offset: { isUTC ? 0 : offset($0) }) }
            guard let due = next(after: last) else { return .never }
            guard !isUTC, isBackup else { return .at(due) }
            return .at(due + shift(last, next(after:)))
        }
    }

    /// How long after its time the last backup began: the member's clock may be that of another part of the world, and
    /// the next backup is as late.
    private static func shift(_ last: Int64, _ next: (Int64) -> Int64?) -> Int64 {
        for window in [3600, day, maxShift] {
            guard var event = next(last - window - 1), event <= last else { continue }
            while let following = next(event), following <= last { event = following }
            return last - event
        }
        return 0
    }
}

/// Lets items through at a rate, and some at once. (Spec: backrest-sync §9.2.)
struct ItemBucket: Sendable {
    private let perSecond: Double
    private let burst: Double
    private var level: Double
    private var last: ContinuousClock.Instant

    init(perSecond: Double, burst: Double, now: ContinuousClock.Instant = .now) {
        self.perSecond = perSecond
        self.burst = burst
        level = burst
        last = now
    }

    /// Takes one item.
    ///
    /// - Returns: How long to wait before it is looked at.
    mutating func take(now: ContinuousClock.Instant = .now) -> Duration {
        level = min(burst, level + (now - last) / .seconds(1) * perSecond) - 1
        last = now
        return level >= 0 ? .zero : .seconds(-level / perSecond)
    }
}

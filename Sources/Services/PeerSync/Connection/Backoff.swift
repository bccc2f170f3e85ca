/// When a member dials again. (Spec: backrest-sync §5.9, §5.2.)
package struct Backoff: Sendable, Equatable {
    /// A session that lasted so long was a good one, and the shortest time between two attempts that failed.
    package static let goodSession: Double = 60
    private static let maxDoublings = 5
    private static let shortestWait: Double = 1
    /// The waits of many members must not fall together.
    private static let jitter = 0.1

    /// Attempts since the last good session.
    package private(set) var attempts = 0
    private var hasRetriedPairing = false

    package init() {}

    /// Seconds to wait after a session, or an attempt, that took `duration` seconds.
    ///
    /// - Parameters:
    ///   - wasRefusedAfterPairing: The hub refused a session in which a pairing secret was sent: the original always does,
    ///     and has stored the member nevertheless. Then one more attempt follows at once.
    ///   - random: Of 0 to 1.
    package mutating func wait(after duration: Double, wasRefusedAfterPairing: Bool = false, random: Double) -> Double {
        if wasRefusedAfterPairing, !hasRetriedPairing {
            hasRetriedPairing = true
            return Self.shortestWait
        }
        if duration >= Self.goodSession {
            attempts = 0
            hasRetriedPairing = false
        }
        let growth =
            attempts > 0 ? Self.goodSession * Double(1 << min(attempts, Self.maxDoublings)) : 0
        attempts += 1
        let wait = max(Self.shortestWait, Self.goodSession - duration + growth)
        return max(Self.shortestWait, wait * (1 + Self.jitter * (2 * random - 1)))
    }

    /// The settings changed, the clock jumped, or this side ended the session itself: the next attempt is the first.
    package mutating func reset() { self = Backoff() }
}

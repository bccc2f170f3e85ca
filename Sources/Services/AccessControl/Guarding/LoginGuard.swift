import BackupFormats

/// Makes guessing passwords slow without locking anybody else out.
///
/// | counted | free failures | then | forgotten |
/// |---|---|---|---|
/// | an account | 10 | 1, 2, 4, 8 s before each check | 15 minutes after the last one |
/// | an address | 30 | 1, 2, … 30 s before each check | likewise |
/// | an account from an address | 20 | refused without a check for 15 minutes | likewise |
///
/// So many guesses at one account slow its owner down by a few seconds at most, unless they come from the owner's own
/// address.
struct LoginGuard: Sendable {
    enum Verdict: Equatable {
        /// The check may be made after so many seconds.
        case check(after: Int64)
        /// No check until that time.
        case locked(until: Int64)
    }

    private enum Key: Hashable {
        case account(AuthID)
        case address(String)
        case pair(AuthID, String)
    }

    private struct Count {
        var failures = 0
        var last: Int64 = 0
    }

    static let memory: Int64 = 15 * 60
    static let lockThreshold = 20
    private static let accountRule = (free: 10, longest: Int64(8))
    private static let addressRule = (free: 30, longest: Int64(30))
    /// Counters that are kept; beyond, those that do not count any more go, and a quarter of the others, which rested
    /// longest.
    private static let countLimit = 8192

    private var counts: [Key: Count] = [:]
    var countOfCounters: Int { counts.count }

    /// Whether, and when, the password that somebody sent is looked at.
    func verdict(_ account: AuthID, from network: String, at now: Int64) -> Verdict {
        if let pair = count(.pair(account, network), now), pair.failures >= Self.lockThreshold {
            return .locked(until: pair.last + Self.memory)
        }
        return .check(
            after: max(
                Self.delay(count(.account(account), now)?.failures ?? 0, Self.accountRule),
                Self.delay(count(.address(network), now)?.failures ?? 0, Self.addressRule)))
    }

    /// - Returns: Whether the account is locked for this address from now on.
    mutating func failed(_ account: AuthID, from network: String, at now: Int64) -> Bool {
        add(.account(account), now)
        add(.address(network), now)
        return add(.pair(account, network), now) == Self.lockThreshold
    }

    /// Forgets what was counted for the account from there. The address keeps its count: who has one account must not
    /// be able to guess at others at full speed.
    mutating func succeeded(_ account: AuthID, from network: String) {
        counts[.pair(account, network)] = nil
    }

    /// Forgets everything about an account, for an administrator.
    mutating func forget(_ account: AuthID) {
        counts = counts.filter { key, _ in
            switch key {
            case .account(let other), .pair(let other, _): other != account
            case .address: true
            }
        }
    }

    private func count(_ key: Key, _ now: Int64) -> Count? {
        // A clock that was set back must not lock for longer.
        counts[key].flatMap { abs(now - $0.last) < Self.memory ? $0 : nil }
    }

    @discardableResult
    private mutating func add(_ key: Key, _ now: Int64) -> Int {
        var count = count(key, now) ?? Count()
        count.failures += 1
        count.last = now
        if counts[key] == nil, counts.count >= Self.countLimit { makeRoom(now) }
        counts[key] = count
        return count.failures
    }

    private mutating func makeRoom(_ now: Int64) {
        counts = counts.filter { abs(now - $0.value.last) < Self.memory }
        guard counts.count >= Self.countLimit else { return }
        let times = counts.values.map(\.last).sorted()
        let bound = times[Self.countLimit / 4]
        var excess = Self.countLimit / 4
        counts = counts.filter { _, count in
            guard excess > 0, count.last <= bound else { return true }
            excess -= 1
            return false
        }
    }

    private static func delay(_ failures: Int, _ rule: (free: Int, longest: Int64)) -> Int64 {
        guard failures >= rule.free else { return 0 }
        return min(rule.longest, 1 << Int64(min(failures - rule.free, 16)))
    }
}

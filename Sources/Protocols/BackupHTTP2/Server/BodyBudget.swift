import NIOConcurrencyHelpers

/// How many bytes of request bodies all connections of this process may hold. (Decision 7.)
///
/// Memory counts from the moment that room is made for a body; who holds how much is judged by the bytes that have come.
///
/// Invariants: `total` is the sum of the room that the shares have made. Above three quarters of `limit` only the share
/// at the head of the queue may read, for a slice of time, then the next one; the last quarter is for the bodies that
/// have begun on all connections and still grow to their announced lengths. So memory stays near `limit`, below
/// `limit + connectionLimit` whatever clients do, and everybody moves. Who holds more than `connectionLimit` of
/// unfinished bodies is told to calm down, and so is the largest holder where the sum of both limits is passed.
package final class BodyBudget: Sendable {
    package static let defaultLimit = 128 * 1024 * 1024
    package static let defaultConnectionLimit = 256 * 1024 * 1024
    /// How long the share at the head of the queue reads alone.
    private static let slice = Duration.milliseconds(200)

    private struct State {
        var total = 0
        var queue: [Share] = []
        var headSince: ContinuousClock.Instant = .now
        var shares: [ObjectIdentifier: Share] = [:]
    }

    private let limit: Int
    /// Where reading freely ends.
    private let readLimit: Int
    private let connectionLimit: Int
    private let state = NIOLockedValueBox(State())

    package init(limit: Int = defaultLimit, connectionLimit: Int = defaultConnectionLimit) {
        self.limit = limit
        readLimit = limit / 4 * 3
        self.connectionLimit = connectionLimit
    }

    /// Bytes held now.
    package var heldBytes: Int { state.withLockedValue { $0.total } }

    /// The part of one connection.
    package final class Share: Sendable {
        fileprivate struct Account {
            /// Bytes of bodies that are being assembled, and the room made for them.
            var unfinished = 0
            var unfinishedRoom = 0
            var hasLeft = false
            var wake: @Sendable () -> Void = {}
        }

        private let budget: BodyBudget
        /// Guarded by the budget's lock; the box is only there to make it Sendable.
        fileprivate let account = NIOLockedValueBox(Account())
        fileprivate let overload: @Sendable () -> Void

        fileprivate init(budget: BodyBudget, overload: @escaping @Sendable () -> Void) {
            self.budget = budget
            self.overload = overload
        }

        /// What to do when reading is allowed again; called on any thread.
        func setWake(_ wake: @escaping @Sendable () -> Void) { account.withLockedValue { $0.wake = wake } }

        /// Counts bytes of a body that is being assembled.
        ///
        /// - Parameter room: Memory that was taken for them, now or for what is to come; the bytes themselves by default.
        package func take(_ bytes: Int, room: Int? = nil) { budget.take(bytes, room ?? bytes, for: self) }

        /// The body that these bytes belong to is complete, and now waits for its work to end.
        package func finish(_ bytes: Int, room: Int? = nil) {
            account.withLockedValue {
                $0.unfinished -= bytes
                $0.unfinishedRoom -= room ?? bytes
            }
        }

        /// A complete body is gone.
        package func giveFinished(_ room: Int) { budget.giveFinished(room) }

        /// An incomplete body is gone.
        package func giveUnfinished(_ bytes: Int, room: Int? = nil) {
            budget.giveUnfinished(bytes, room ?? bytes, of: self)
        }

        /// Whether the connection may read more now. Where not, it is queued and will be woken.
        package func mayRead() -> Bool { budget.mayRead(self) }

        /// The connection is over: it no longer reads and holds nothing unfinished.
        package func leave() { budget.leave(self) }
    }

    /// - Parameter overload: Called on any thread when the connection must end for holding too much.
    package func join(overload: @escaping @Sendable () -> Void) -> Share {
        let share = Share(budget: self, overload: overload)
        state.withLockedValue { $0.shares[ObjectIdentifier(share)] = share }
        return share
    }

    private func take(_ bytes: Int, _ room: Int, for share: Share) {
        let culprit: Share? = state.withLockedValue { state in
            let own = share.account.withLockedValue { account in
                account.unfinished += bytes
                account.unfinishedRoom += room
                return account.unfinished
            }
            state.total += room
            if own > connectionLimit { return share }
            guard state.total > limit + connectionLimit else { return nil }
            return state.shares.values.max { first, second in
                first.account.withLockedValue { $0.unfinished } < second.account.withLockedValue { $0.unfinished }
            }
        }
        culprit?.overload()
    }

    private func giveFinished(_ room: Int) {
        let woken = state.withLockedValue { state in
            state.total -= room
            return wakeable(&state)
        }
        for share in woken { share.account.withLockedValue { $0.wake }() }
    }

    private func giveUnfinished(_ bytes: Int, _ room: Int, of share: Share) {
        let woken: [Share] = state.withLockedValue { state in
            let hasLeft = share.account.withLockedValue { account in
                guard !account.hasLeft else { return true }
                account.unfinished -= bytes
                account.unfinishedRoom -= room
                return false
            }
            guard !hasLeft else { return [] }
            state.total -= room
            return wakeable(&state)
        }
        for share in woken { share.account.withLockedValue { $0.wake }() }
    }

    private func wakeable(_ state: inout State) -> [Share] {
        guard state.total <= readLimit, !state.queue.isEmpty else { return [] }
        defer { state.queue = [] }
        return state.queue
    }

    private func mayRead(_ share: Share) -> Bool {
        let now = ContinuousClock.now
        let (allowed, woken): (Bool, Share?) = state.withLockedValue { state in
            guard state.total > readLimit else {
                state.queue.removeAll { $0 === share }
                return (true, nil)
            }
            if !state.queue.contains(where: { $0 === share }) {
                if state.queue.isEmpty { state.headSince = now }
                state.queue.append(share)
            }
            var woken: Share?
            if state.queue.count > 1, now - state.headSince > Self.slice {
                state.queue.append(state.queue.removeFirst())
                state.headSince = now
                woken = state.queue.first
            }
            return (state.queue.first === share, woken === share ? nil : woken)
        }
        woken?.account.withLockedValue { $0.wake }()
        return allowed
    }

    private func leave(_ share: Share) {
        let woken: [Share] = state.withLockedValue { state in
            state.shares[ObjectIdentifier(share)] = nil
            let room = share.account.withLockedValue { account in
                defer {
                    account.unfinished = 0
                    account.unfinishedRoom = 0
                    account.hasLeft = true
                    account.wake = {}
                }
                return account.unfinishedRoom
            }
            state.total -= room
            let wasHead = state.queue.first === share
            state.queue.removeAll { $0 === share }
            let all = wakeable(&state)
            if !all.isEmpty { return all }
            guard wasHead, let head = state.queue.first else { return [] }
            state.headSince = .now
            return [head]
        }
        for share in woken { share.account.withLockedValue { $0.wake }() }
    }
}

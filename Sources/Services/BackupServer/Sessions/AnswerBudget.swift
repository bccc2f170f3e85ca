import BackupFormats
import Synchronization

/// How many bytes of chunks all reader sessions of this process may hold between the disk and the network.
///
/// A client asks for dozens of chunks at once and takes them one after the other. Those that it has no room for stay on
/// the disk until the ones before are sent.
///
/// Invariants: a session that holds nothing always gets what it asks for, so that everybody moves, whoever else does
/// not read. Otherwise a session holds at most ``sessionLimit``, and all together at most ``limit``.
final class AnswerBudget: Sendable {
    static let defaultLimit = 48 << 20
    static let defaultSessionLimit = 24 << 20

    private struct Waiter {
        let share: Share
        let bytes: Int
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var total = 0
        var held: [ObjectIdentifier: Int] = [:]
        var waiters: [Waiter] = []
        var left: Set<ObjectIdentifier> = []
    }

    private let limit: Int
    private let sessionLimit: Int
    private let state = Mutex(State())

    init(limit: Int = defaultLimit, sessionLimit: Int = defaultSessionLimit) {
        self.limit = limit
        self.sessionLimit = sessionLimit
    }

    /// Bytes held now.
    var heldBytes: Int { state.withLock { $0.total } }

    /// The part of one session.
    final class Share: Sendable {
        private let budget: AnswerBudget

        init(of budget: AnswerBudget) { self.budget = budget }

        /// Waits until `bytes` may be held. They are given back when the lease goes.
        ///
        /// - Throws: ``BackupFailure`` of kind `cancelled` once the session has ended.
        func take(_ bytes: Int) async throws -> Lease {
            guard await budget.take(bytes, for: self) else {
                throw BackupFailure(.cancelled, "the session is over")
            }
            return Lease(bytes, of: self)
        }

        /// The session ends: nobody waits for it any more.
        func end() { budget.end(self) }

        fileprivate func give(_ bytes: Int) { budget.give(bytes, of: self) }

        deinit { budget.forget(ObjectIdentifier(self)) }
    }

    /// A reservation.
    final class Lease: Sendable {
        private let bytes: Int
        private let share: Share

        fileprivate init(_ bytes: Int, of share: Share) {
            self.bytes = bytes
            self.share = share
        }

        deinit { share.give(bytes) }
    }

    private func take(_ bytes: Int, for share: Share) async -> Bool {
        await withCheckedContinuation { continuation in
            resume(
                state.withLock { state in
                    state.waiters.append(Waiter(share: share, bytes: bytes, continuation: continuation))
                    return serve(&state)
                })
        }
    }

    private func give(_ bytes: Int, of share: Share) {
        resume(
            state.withLock { state in
                state.total -= bytes
                state.held[ObjectIdentifier(share), default: 0] -= bytes
                return serve(&state)
            })
    }

    private func end(_ share: Share) {
        resume(
            state.withLock { state in
                state.left.insert(ObjectIdentifier(share))
                return serve(&state)
            })
    }

    private func forget(_ share: ObjectIdentifier) {
        state.withLock { state in
            state.held[share] = nil
            state.left.remove(share)
        }
    }

    /// Goes through those who wait, in order of arrival; who has had to stand back does not keep others.
    private func serve(_ state: inout State) -> [(CheckedContinuation<Bool, Never>, Bool)] {
        var served: [(CheckedContinuation<Bool, Never>, Bool)] = []
        state.waiters.removeAll { waiter in
            let id = ObjectIdentifier(waiter.share)
            if state.left.contains(id) {
                served.append((waiter.continuation, false))
                return true
            }
            let held = state.held[id, default: 0]
            let fits = held + waiter.bytes <= sessionLimit && state.total + waiter.bytes <= limit
            guard held == 0 || fits else { return false }
            state.held[id] = held + waiter.bytes
            state.total += waiter.bytes
            served.append((waiter.continuation, true))
            return true
        }
        return served
    }

    private func resume(_ served: [(CheckedContinuation<Bool, Never>, Bool)]) {
        for (continuation, isGranted) in served { continuation.resume(returning: isGranted) }
    }
}

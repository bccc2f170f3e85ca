import Platform

/// Lets callers that want the file system synced at the same time share one call. (Design decision 3.)
///
/// Nobody shares a call that began before his own data was written.
final class SyncGate: Sendable {
    /// Results of past calls that slow waiters may still ask for.
    private static let rememberedFailures = 64

    private struct State {
        /// Calls that have begun; the number of the latest.
        var begun: UInt64 = 0
        var isRunning = false
        /// The latest call that has ended.
        var ended: UInt64 = 0
        var failures: [UInt64: any Error] = [:]
    }

    private enum Turn { case call(UInt64), done((any Error)?) }

    private let state = Monitor(State())
    private let sync: @Sendable () throws -> Void

    init(_ sync: @escaping @Sendable () throws -> Void) {
        self.sync = sync
    }

    /// Blocks until a call that began after this one has ended.
    func pass() throws {
        let wanted = state.withLock { $0.begun + 1 }
        while true {
            let turn: Turn = state.wait { state in
                if state.ended >= wanted { return .done(state.failures[wanted]) }
                if state.isRunning { return nil }
                state.isRunning = true
                state.begun += 1
                return .call(state.begun)
            }
            switch turn {
            case .done(let failure):
                if let failure { throw failure }
                return
            case .call(let number):
                let result = Result { try sync() }
                state.withLock(wake: true) { state in
                    state.isRunning = false
                    state.ended = number
                    if case .failure(let error) = result { state.failures[number] = error }
                    if number > Self.rememberedFailures {
                        state.failures[number - UInt64(Self.rememberedFailures)] = nil
                    }
                }
            }
        }
    }
}

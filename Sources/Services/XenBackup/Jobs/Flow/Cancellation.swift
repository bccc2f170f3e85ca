import BackupFormats
import Synchronization

/// Runs `body` to its end, also where the Swift task around it is cancelled: for tidying up.
func inAnyCase(_ body: @escaping @Sendable () async -> Void) async {
    await Task { await body() }.value
}

/// Cancels `body` after `limit`; nil is no limit.
///
/// - Parameter thing: What took too long, for the error: "the job".
/// - Throws: ``BackupFailure`` of kind `unavailable` where the limit was reached, else what `body` throws.
func withTimeLimit<Value: Sendable>(
    _ limit: Duration?, of thing: String, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    guard let limit else { return try await body() }
    let isOver = Flag()
    let work = Task { try await body() }
    let timer = Task {
        try await Task.sleep(for: limit)
        isOver.raise()
        work.cancel()
    }
    defer { timer.cancel() }
    do {
        return try await withTaskCancellationHandler {
            try await work.value
        } onCancel: {
            work.cancel()
        }
    } catch {
        guard isOver.isRaised else { throw error }
        throw BackupFailure(.unavailable, "\(thing) took longer than its time limit of \(limit)")
    }
}

/// Whether an error is that of a cancellation.
func isCancellation(_ error: any Error) -> Bool {
    error is CancellationError || (error as? BackupFailure)?.kind == .cancelled
}

/// Something that happens at most once.
final class Flag: Sendable {
    private let state = Atomic(false)

    func raise() { state.store(true, ordering: .releasing) }
    var isRaised: Bool { state.load(ordering: .acquiring) }
}

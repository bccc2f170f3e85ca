import BackupFormats
import Synchronization

/// Keeps apart, inside this process, what reads the disks of a machine and the one step of a merge that moves blocks under
/// a reader's feet. Everything else that a merge does leaves open disks as they were.
package final class MachineGate: Sendable {
    /// Of this process: repositories over one remote come and go, and a machine's uuid is one everywhere.
    package static let shared = MachineGate()

    private struct State {
        var readers: [String: Int] = [:]
        var movers: Set<String> = []
    }

    private static let pollInterval = Duration.milliseconds(50)

    private let state = Mutex(State())

    package init() {}

    /// Waits until no blocks of the machine are being moved.
    func beginReading(_ vm: String) async throws {
        while true {
            let isOpen = state.withLock { state in
                guard !state.movers.contains(vm) else { return false }
                state.readers[vm, default: 0] += 1
                return true
            }
            if isOpen { return }
            try await Task.sleep(for: Self.pollInterval)
        }
    }

    func endReading(_ vm: String) {
        state.withLock { state in
            let left = (state.readers[vm] ?? 1) - 1
            state.readers[vm] = left > 0 ? left : nil
        }
    }

    func isRead(_ vm: String) -> Bool { state.withLock { $0.readers[vm] != nil } }

    /// Runs `body` while nobody reads; nil where somebody still does.
    func ifUnread<Value: Sendable>(_ vm: String, _ body: () async throws -> Value) async throws -> Value? {
        let isFree = state.withLock { state in
            state.readers[vm] == nil && state.movers.insert(vm).inserted
        }
        guard isFree else { return nil }
        defer { state.withLock { _ = $0.movers.remove(vm) } }
        return try await body()
    }
}

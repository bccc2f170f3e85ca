import BackupFormats
import Platform
import Synchronization

/// Shows how far a long command is, on standard error: a line that changes on a terminal, otherwise one line a minute.
final class Progress: Sendable {
    /// What is shown.
    struct State: Sendable {
        /// Bytes that were worked through.
        var done: Int64 = 0
        /// Bytes in all, where that is known or can be guessed.
        var total: Int64?
        /// What else there is to say.
        var remark = ""
    }

    private enum Pace {
        static let terminal = Duration.milliseconds(200)
        static let log = Duration.seconds(60)
        /// The rate is that of the last so many seconds.
        static let window = 10.0
    }

    private let isQuiet: Bool
    private let isTerminal: Bool
    private let time: TimeSource
    private let isLineOpen = Mutex(false)

    init(isQuiet: Bool, time: TimeSource = .system) {
        self.isQuiet = isQuiet
        self.time = time
        isTerminal = StandardStreams.isTerminal(StandardStreams.error)
    }

    /// A line that stays, unless the command is quiet.
    func note(_ text: String) {
        if !isQuiet { line(text) }
    }

    /// A line that stays in any case.
    func warn(_ text: String) { line("warning: \(text)") }

    /// Runs `body` and shows `state` meanwhile.
    func during<Value: Sendable>(
        _ state: @escaping @Sendable () -> State, _ body: () async throws -> Value
    ) async throws -> Value {
        guard !isQuiet else { return try await body() }
        // Ends with the body.
        let display = Task { [self] in
            var samples: [(second: Double, bytes: Int64)] = [(seconds, state().done)]
            while !Task.isCancelled {
                try await Task.sleep(for: isTerminal ? Pace.terminal : Pace.log)
                let current = state()
                samples.append((seconds, current.done))
                while samples.count > 2, samples[samples.count - 1].second - samples[0].second > Pace.window, isTerminal
                {
                    samples.removeFirst()
                }
                show(Self.text(current, samples))
            }
        }
        defer {
            display.cancel()
            clear()
        }
        return try await body()
    }

    private var seconds: Double { Double(time.nanoseconds()) / 1e9 }

    private static func text(_ state: State, _ samples: [(second: Double, bytes: Int64)]) -> String {
        guard let first = samples.first, let last = samples.last else { return "" }
        let elapsed = max(last.second - first.second, 0.001)
        let rate = Double(last.bytes - first.bytes) / elapsed
        var parts = [ByteSize.text(state.done) + (state.total.map { " of \(ByteSize.text($0))" } ?? "")]
        parts.append("\(ByteSize.text(Int64(rate)))/s")
        if !state.remark.isEmpty { parts.append(state.remark) }
        if let total = state.total, total > state.done, rate > 1 {
            parts.append("\(Clock.text(Double(total - state.done) / rate)) left")
        }
        return parts.joined(separator: ", ")
    }

    private func show(_ text: String) {
        guard isTerminal else { return line(text) }
        isLineOpen.withLock { isOpen in
            StandardStreams.print("\r\u{1b}[K" + text.prefix(max(20, Terminal.width - 1)), to: StandardStreams.error)
            isOpen = true
        }
    }

    private func clear() {
        isLineOpen.withLock { isOpen in
            if isOpen { StandardStreams.print("\r\u{1b}[K", to: StandardStreams.error) }
            isOpen = false
        }
    }

    private func line(_ text: String) {
        isLineOpen.withLock { isOpen in
            StandardStreams.print((isOpen ? "\r\u{1b}[K" : "") + text + "\n", to: StandardStreams.error)
            isOpen = false
        }
    }
}

/// Lengths of time for people.
enum Clock {
    /// `4.2 s`, `3 min 12 s`, `2 h 5 min`.
    static func text(_ seconds: Double) -> String {
        if seconds < 60 {
            let tenths = Int((seconds * 10).rounded())
            return "\(tenths / 10).\(tenths % 10) s"
        }
        let whole = Int(seconds.rounded())
        return whole < 3600 ? "\(whole / 60) min \(whole % 60) s" : "\(whole / 3600) h \(whole / 60 % 60) min"
    }
}

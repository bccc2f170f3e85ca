import CLinux
import Glibc

/// Programs of the system that are run to their end.
package enum Subprocess {
    package struct Outcome: Sendable {
        /// The exit status; 128 and the signal where one ended it.
        package let status: Int32
        /// What it wrote to standard output and error.
        package let output: String
        /// Whether it was killed because it took too long.
        package let isTimedOut: Bool
    }

    /// What is read of the output.
    private static let outputLimit = 16 << 10

    /// Runs `program`, which is looked for in this process's `PATH`, with no input. Blocks until it has ended.
    ///
    /// - Parameters:
    ///   - environment: All of its variables.
    ///   - seconds: Afterwards it is killed, with all that it started.
    /// - Throws: ``SystemError`` where it cannot be started.
    package static func run(
        _ program: String, _ arguments: [String], environment: [String: String], seconds: Int
    ) throws(SystemError) -> Outcome {
        var (reading, writing) = (Int32(0), Int32(0))
        try check(cl_pipe(&reading, &writing), "pipe", program)
        defer { close(reading) }
        let process: pid_t
        do throws(SystemError) {
            process = try start(program, arguments, environment, output: writing)
        } catch {
            close(writing)
            throw error
        }
        close(writing)
        return wait(for: process, output: reading, seconds: seconds)
    }

    private static func start(
        _ program: String, _ arguments: [String], _ environment: [String: String], output: Int32
    ) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own, so that it can be killed with its children; signals as programs expect them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF))
        var process = pid_t()
        let words = ([program] + arguments).map { strdup($0) }
        let variables = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") }
        defer { for text in words + variables { free(text) } }
        let code = posix_spawnp(&process, program, &actions, &attributes, words + [nil], variables + [nil])
        guard code == 0 else { throw SystemError("start", program, code: code) }
        return process
    }

    /// The end of the program counts, not that of its output: helpers that stay in the background keep that open.
    private static func wait(for process: pid_t, output: Int32, seconds: Int) -> Outcome {
        var text: [UInt8] = []
        var status: Int32 = 0
        var isTimedOut = false
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        while true {
            drain(output, into: &text)
            let ended = waitpid(process, &status, WNOHANG)
            if ended == process || ended < 0 && errno != EINTR { break }
            if !isTimedOut, clock.now >= end {
                isTimedOut = true
                kill(-process, SIGKILL)
            }
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, 50) > 0, Int32(waiting.revents) & POLLIN == 0 {
                // Closed, but still running.
                Threads.sleep(.milliseconds(20))
            }
        }
        drain(output, into: &text)
        let signal = status & 0x7f
        return Outcome(
            status: signal == 0 ? status >> 8 & 0xff : 128 + signal, output: String(decoding: text, as: UTF8.self),
            isTimedOut: isTimedOut)
    }

    private static func drain(_ output: Int32, into text: inout [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(output, &buffer, buffer.count)
            guard count > 0 else { return }
            text += buffer.prefix(min(count, outputLimit - text.count))
        }
    }
}

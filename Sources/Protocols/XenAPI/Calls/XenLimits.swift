/// How long a connection waits for what, and how often it tries again. (Spec: xo-proxy §6.1, §6.5.)
package struct XenLimits: Sendable {
    /// Calls on their way at once.
    package var concurrentCalls = 20
    /// Until a call is answered.
    package var call = Duration.seconds(3600)
    /// Until a connection stands.
    package var connect = Duration.seconds(20)
    /// Tries of a read-only call whose connection broke, and the pause between them.
    package var resets = 10
    package var resetPause = Duration.seconds(1)
    /// Tries of a call that the host has no room for, and the pause between them.
    package var busyTries = 10
    package var busyPause = Duration.seconds(5)
    /// Between two bytes of a transfer.
    package var inactivity = Duration.seconds(300)
    /// Until the first byte of an export.
    package var firstByte = Duration.seconds(1800)
    /// After a transfer, until the host says how it ended.
    package var verdict = Duration.seconds(60)
    /// After a failed transfer, until the host says why.
    package var reason = Duration.seconds(5)
    /// Between two looks at a task where events are not to be had.
    package var look = Duration.seconds(1)
    /// Tries to destroy a disk that is in use, and the pause between them.
    package var inUseTries = 10
    package var inUsePause = Duration.seconds(5)

    package init() {}

    /// Longest answer to a call: the records of a pool with ten thousand disks take about a tenth.
    static let maxAnswerBytes = 256 << 20
    /// Seconds that the host holds a question for events back. With a decimal point: hosts take a whole number for an
    /// integer and refuse it.
    static let eventWait = "60.1"
    /// Redirections followed for one request.
    static let redirections = 5
    /// Bytes read ahead of a transfer's reader.
    static let readAhead = 2 << 20
    /// Bytes of an error page that are looked at.
    static let errorBytes = 16 << 10
    /// Declared where the length of an import is not known.
    static let unknownLength: UInt64 = 1 << 50
}

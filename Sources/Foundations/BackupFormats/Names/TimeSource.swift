/// Gives the time to those who need it, so that tests can move it by hand.
/// `Platform` has the only one that asks the machine.
package struct TimeSource: Sendable {
    /// Unix time in nanoseconds.
    package let nanoseconds: @Sendable () -> Int64

    package init(nanoseconds: @escaping @Sendable () -> Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Unix time in whole seconds.
    package var seconds: Int64 { nanoseconds() / 1_000_000_000 }
}

/// Whom a garbage collection tells what it does.
package struct CollectionObserver: Sendable {
    /// Asked often; then the collection ends soon, with the store as sound as before.
    package var isCancelled: @Sendable () -> Bool
    /// Takes lines for the log of the task.
    package var log: @Sendable (String) -> Void
    /// Takes lines about what somebody should look at.
    package var warn: @Sendable (String) -> Void
    /// Takes the part that is done, 0 to 1.
    package var progress: @Sendable (Double) -> Void

    package init(
        isCancelled: @escaping @Sendable () -> Bool = { false }, log: @escaping @Sendable (String) -> Void = { _ in },
        warn: @escaping @Sendable (String) -> Void = { _ in }, progress: @escaping @Sendable (Double) -> Void = { _ in }
    ) {
        self.isCancelled = isCancelled
        self.log = log
        self.warn = warn
        self.progress = progress
    }
}

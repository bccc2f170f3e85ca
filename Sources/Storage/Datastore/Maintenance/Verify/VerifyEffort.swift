import Platform

/// How much of the machine a verification takes.
package struct VerifyEffort: Hashable, Sendable {
    /// What may be asked for of each kind of thread.
    package static let threadRange = 1...32

    /// Threads that read chunk files. One reads a spinning disk in the order of its sectors; more suit solid-state disks.
    package var readThreads: Int
    /// Threads that decode and digest at the same time.
    package var verifyThreads: Int
    /// Bytes of chunk files that are read in a second at most; nil for as many as possible.
    package var bytesPerSecond: Int?
    /// Whether chunks are looked up first and read in the order of their inodes; else in that of the archive.
    package var readsInDiskOrder = true

    package init(
        readThreads: Int = max(1, min(4, ProcessInformation.processorCount / 4)),
        verifyThreads: Int = max(1, min(32, ProcessInformation.processorCount)), bytesPerSecond: Int? = nil
    ) {
        self.readThreads = readThreads
        self.verifyThreads = verifyThreads
        self.bytesPerSecond = bytesPerSecond
    }
}

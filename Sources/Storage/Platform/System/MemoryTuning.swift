import CLinux

/// How malloc treats big blocks.
package enum MemoryTuning {
    private static let mmapThreshold: Int32 = 64 << 20
    /// Free memory at the end of the heap that goes back to the kernel: what is left when the last sessions end, not
    /// what comes and goes during work.
    private static let trimThreshold: Int32 = 96 << 20
    /// A buffer that one thread has freed serves the next thread only within one heap. Small blocks come from each
    /// thread's own cache, so that the heap's lock costs nothing that can be measured.
    private static let arenas: Int32 = 1

    /// Keeps freed chunk buffers in the process instead of faulting fresh pages in for each. Call it in the first
    /// lines of the program, before other threads exist; resident memory is then bounded by the buffers in flight.
    package static func keepBigBlocks() {
        // A refusal costs speed only.
        _ = cl_keep_big_blocks(mmapThreshold, trimThreshold, arenas)
    }
}

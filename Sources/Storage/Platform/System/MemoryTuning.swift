import CLinux

/// How malloc treats big blocks.
package enum MemoryTuning {
    private static let mmapThreshold: Int32 = 64 << 20
    private static let trimThreshold: Int32 = 512 << 20

    /// Keeps freed chunk buffers in the process instead of faulting fresh pages in for each. Call it in the first
    /// lines of the program, before other threads exist; resident memory is then bounded by the buffers in flight.
    package static func keepBigBlocks() {
        // A refusal costs speed only.
        _ = cl_keep_big_blocks(mmapThreshold, trimThreshold)
    }
}

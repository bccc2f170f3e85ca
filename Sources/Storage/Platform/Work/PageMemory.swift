import Glibc

/// Memory straight from the kernel: untouched pages take no room, and what is given back is free at once.
package final class PageMemory: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let byteCount: Int
    /// Whether the kernel had no mapping left and malloc gave the memory.
    private let isAllocated: Bool

    package init(byteCount: Int) {
        self.byteCount = byteCount
        let mapped = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if let mapped, mapped != MAP_FAILED {
            base = mapped
            isAllocated = false
        } else {
            base = .allocate(byteCount: byteCount, alignment: 4096)
            isAllocated = true
        }
    }

    deinit {
        if isAllocated { base.deallocate() } else { munmap(base, byteCount) }
    }

    /// Gives the pages from `offset` on back; they read as zeros when they are touched again.
    ///
    /// - Parameter offset: A multiple of the page size.
    package func discard(from offset: Int) {
        guard !isAllocated, offset < byteCount else { return }
        madvise(base + offset, byteCount - offset, Int32(MADV_DONTNEED))
    }
}

/// Keys on their way into a set: gathered, sorted by block, put in block after block, so that each lock is taken and each
/// table fetched into the cache once for many keys. One a thread; 2 MiB.
final class MarkBatch {
    /// Keys that are gathered.
    private static let capacity = 1 << 16

    private let gathered = UnsafeMutableBufferPointer<MarkKey>.allocate(capacity: capacity)
    private let sorted = UnsafeMutableBufferPointer<MarkKey>.allocate(capacity: capacity)
    private var count = 0
    private let set: MarkSet
    private let afterFlush: () throws -> Void

    /// - Parameter afterFlush: Called whenever keys have been put into the set.
    init(_ set: MarkSet, afterFlush: @escaping () throws -> Void) {
        self.set = set
        self.afterFlush = afterFlush
    }

    deinit {
        gathered.deallocate()
        sorted.deallocate()
    }

    /// Takes whole entries of an index: the size of one is `stride`, its digest starts at `digestOffset` in it.
    func add(_ entries: UnsafeRawBufferPointer, stride: Int, digestOffset: Int) throws {
        var place = digestOffset
        while place < entries.count {
            var next = count
            var last = next > 0 ? gathered[next - 1] : .zero
            while next < Self.capacity, place < entries.count {
                let key = MarkKey(entries, at: place)
                // Images repeat themselves, above all the chunk of zeros.
                if next == 0 || key != last {
                    gathered.initializeElement(at: next, to: key)
                    last = key
                    next += 1
                }
                place += stride
            }
            count = next
            if next == Self.capacity { try flush() }
        }
    }

    /// Puts what was gathered into the set.
    func flush() throws {
        var ends = [Int](repeating: 0, count: MarkSet.blockCount)
        for index in 0..<count { ends[gathered[index].block] += 1 }
        var start = 0
        for block in ends.indices {
            let size = ends[block]
            ends[block] = start
            start += size
        }
        for index in 0..<count {
            let key = gathered[index]
            sorted.initializeElement(at: ends[key.block], to: key)
            ends[key.block] += 1
        }
        start = 0
        for block in ends.indices where ends[block] > start {
            set.insert(UnsafeBufferPointer(rebasing: sorted[start..<ends[block]]), block: block)
            start = ends[block]
        }
        count = 0
        try afterFlush()
    }
}

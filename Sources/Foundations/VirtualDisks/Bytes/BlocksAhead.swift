import BackupFormats

/// Reads the blocks of a disk in a given order, a few of them before they are asked for, so that who sends them on does
/// not wait for each. Asked by one reader at a time.
actor BlocksAhead {
    /// Blocks that are read or wait at any time.
    static let bound = 4

    private let view: any DiskView
    private let indexes: [Int]
    private var started = 0
    private var ahead: [(index: Int, bytes: Task<[UInt8], any Error>)] = []

    init(_ view: any DiskView, _ indexes: [Int]) {
        self.view = view
        self.indexes = indexes
    }

    deinit {
        for block in ahead { block.bytes.cancel() }
    }

    /// The next block; nil after the last.
    ///
    /// - Throws: What the view throws, and ``BackupFailure`` where it gives a block of another length.
    func next() async throws -> DiskBlock? {
        while ahead.count < Self.bound, started < indexes.count {
            let index = indexes[started]
            started += 1
            ahead.append((index, Task { [view] in try await view.block(index) }))
        }
        guard !ahead.isEmpty else { return nil }
        let (index, reading) = ahead.removeFirst()
        let bytes = try await withTaskCancellationHandler {
            try await reading.value
        } onCancel: {
            reading.cancel()
        }
        guard bytes.count == DiskGeometry.blockBytes else {
            throw BackupFailure(.internalFault, "Block \(index) of a disk has \(bytes.count) bytes")
        }
        return DiskBlock(index: index, bytes: bytes)
    }
}

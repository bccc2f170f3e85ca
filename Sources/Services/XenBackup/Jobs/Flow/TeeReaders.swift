import BackupFormats
import Synchronization
import VirtualDisks

/// One reader's share of a stream of bytes.
final class TeeBytes: ByteSource {
    private let tee: Tee<[UInt8]>
    private let reader: Int
    /// What is left of a piece that was longer than asked for.
    private let rest = Mutex<ArraySlice<UInt8>>([])

    init(_ tee: Tee<[UInt8]>, reader: Int) {
        self.tee = tee
        self.reader = reader
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if let piece = take(maxBytes) { return piece }
        guard let piece = try await tee.next(reader) else { return nil }
        if piece.count <= maxBytes { return piece }
        rest.withLock { $0 = piece[...] }
        return take(maxBytes)
    }

    private func take(_ maxBytes: Int) -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(maxBytes) }
            return Array(rest.prefix(maxBytes))
        }
    }
}

/// One reader's share of a disk.
final class TeeDisk: DiskSource {
    private let tee: Tee<DiskBlock>
    private let reader: Int
    private let source: any DiskSource

    /// - Parameter source: What the tee is fed from.
    init(_ tee: Tee<DiskBlock>, reader: Int, of source: any DiskSource) {
        self.tee = tee
        self.reader = reader
        self.source = source
    }

    var size: UInt64 { source.size }
    var isDifferencing: Bool { source.isDifferencing }
    func nextBlock() async throws -> DiskBlock? { try await tee.next(reader) }
    func willCome(_ index: Int) -> Bool? { source.willCome(index) }
}

/// Bytes of a host, no faster than the job may read.
struct LimitedSource: ByteSource {
    let source: any ByteSource
    let rate: RateLimit

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        guard let piece = try await source.read(upTo: maxBytes) else { return nil }
        try await rate.spend(piece.count)
        return piece
    }
}

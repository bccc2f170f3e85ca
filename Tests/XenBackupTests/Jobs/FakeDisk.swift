import BackupFormats
import Synchronization
import VirtualDisks

@testable import XenBackup

/// A disk as ``FakeHost`` exports it: a description of a few bytes instead of blocks of megabytes.
final class FakeDisk: DiskSource {
    let size: UInt64
    let isDifferencing: Bool
    private let blocks: Mutex<ArraySlice<(Int, UInt8)>>
    private let blockBytes: Int

    /// - Parameter blockBytes: 1 where only the byte that would fill a block is given.
    init(_ description: JSONValue, blockBytes: Int) {
        self.blockBytes = blockBytes
        size = UInt64(description["size"]?.intValue ?? 0)
        isDifferencing = description["isDifferencing"]?.boolValue ?? false
        let blocks = (description["blocks"]?.arrayValue ?? []).compactMap { pair -> (Int, UInt8)? in
            guard let pair = pair.arrayValue?.compactMap(\.intValue), pair.count == 2 else { return nil }
            return (Int(pair[0]), UInt8(pair[1]))
        }
        self.blocks = Mutex(blocks[...])
    }

    static func open(_ export: any ByteSource) async throws -> any DiskSource {
        FakeDisk(try JSONValue(parsing: try await export.readAll(limit: 1 << 20)), blockBytes: 1)
    }

    /// With blocks as they are.
    static func openWhole(_ export: any ByteSource) async throws -> any DiskSource {
        let description = try JSONValue(parsing: try await export.readAll(limit: 1 << 20))
        return FakeDisk(description, blockBytes: DiskGeometry.blockBytes)
    }

    func nextBlock() async throws -> DiskBlock? {
        blocks.withLock { $0.popFirst() }.map {
            DiskBlock(index: $0.0, bytes: Array(repeating: $0.1, count: blockBytes))
        }
    }

    /// A content as the bytes of a machine's export.
    static func bytes(_ content: FakeHost.Content) -> [UInt8] {
        content.sorted { $0.key < $1.key }.flatMap { [UInt8($0.key), $0.value] }
    }
}

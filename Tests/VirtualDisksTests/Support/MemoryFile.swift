import CairnTestSupport
import Foundation
import Synchronization
import VirtualDisks

/// A file in memory that can be broken off at any change, and knows what a loss of power may leave of it.
final class MemoryFile: RandomAccess {
    struct Broken: Error {}

    private enum Change {
        case write([UInt8], UInt64)
        case truncate(UInt64)
    }

    private struct State {
        var bytes: [UInt8]
        /// As of the last sync.
        var durable: [UInt8]
        /// Since then.
        var changes: [Change] = []
        var changeCount = 0
        var writtenBytes = 0
        /// The change that fails, half of it done.
        var breakAt: Int?
    }

    private let state: Mutex<State>

    init(_ bytes: [UInt8] = [], breakAt: Int? = nil) {
        state = Mutex(State(bytes: bytes, durable: bytes, breakAt: breakAt))
    }

    var bytes: [UInt8] { state.withLock { $0.bytes } }
    /// Writes, truncations and syncs so far.
    var changeCount: Int { state.withLock { $0.changeCount } }
    var writtenBytes: Int { state.withLock { $0.writtenBytes } }

    /// What may be there when power is lost now: what was synced, and of the rest any part.
    func afterLoss(_ random: inout SeededRandom) -> [UInt8] {
        state.withLock { state in
            var bytes = state.durable
            for change in state.changes where Bool.random(using: &random) { Self.apply(change, to: &bytes) }
            return bytes
        }
    }

    func size() async throws -> UInt64 { state.withLock { UInt64($0.bytes.count) } }

    func read(at offset: UInt64, count: Int) async throws -> [UInt8] {
        state.withLock { state in
            guard offset < state.bytes.count else { return [] }
            let start = Int(offset)
            return Array(state.bytes[start..<min(state.bytes.count, start + count)])
        }
    }

    func write(_ bytes: [UInt8], at offset: UInt64) async throws {
        try change(.write(bytes, offset), torn: .write(Array(bytes.prefix(bytes.count / 1024 * 512)), offset))
    }

    func truncate(to size: UInt64) async throws { try change(.truncate(size), torn: nil) }

    func sync() async throws {
        try change(nil, torn: nil)
        state.withLock { state in
            state.durable = state.bytes
            state.changes = []
        }
    }

    private func change(_ change: Change?, torn: Change?) throws {
        try state.withLock { state in
            state.changeCount += 1
            if let breakAt = state.breakAt, state.changeCount >= breakAt {
                if state.changeCount == breakAt, let torn {
                    Self.apply(torn, to: &state.bytes)
                    state.changes.append(torn)
                }
                throw Broken()
            }
            guard let change else { return }
            Self.apply(change, to: &state.bytes)
            state.changes.append(change)
            if case .write(let bytes, _) = change { state.writtenBytes += bytes.count }
        }
    }

    private static func apply(_ change: Change, to bytes: inout [UInt8]) {
        func resize(_ count: Int) {
            if count < bytes.count { bytes.removeLast(bytes.count - count) }
            if count > bytes.count { bytes.append(contentsOf: [UInt8](repeating: 0, count: count - bytes.count)) }
        }
        switch change {
        case .truncate(let size): resize(Int(size))
        case .write(let new, let offset):
            guard !new.isEmpty else { return }
            if bytes.count < Int(offset) + new.count { resize(Int(offset) + new.count) }
            bytes.withUnsafeMutableBytes { target in
                new.withUnsafeBytes { source in
                    UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)..<Int(offset) + new.count])
                        .copyMemory(from: source)
                }
            }
        }
    }
}

/// Whether a view shows a disk.
func shows(_ view: any DiskView, _ disk: SampleDisk) async throws -> Bool {
    guard view.size == disk.size else { return false }
    let present = try await view.presentBlocks()
    for index in Set(present).union(disk.blocks.keys) {
        guard isSame(try await view.block(index), disk[index]) else { return false }
        guard present.contains(index) || disk[index].allSatisfy({ $0 == 0 }) else { return false }
    }
    return true
}

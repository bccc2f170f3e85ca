import BackupFormats
import Tasks
import VirtualDisks

/// Makes one disk of a chain: the blocks of the younger ones go into the oldest, which then takes the name of the youngest.
/// (Spec: xo-proxy §4.10 points 5 and 6.)
///
/// The youngest disk, with all below it, reads the same at every moment:
///
/// 1. The state file is there, durable, before the oldest disk is touched; from then on that opens leniently.
/// 2. Blocks are written into the oldest disk only where a younger one has them, and hides them. New ones lie whole on the disk
///    before the table names them. The state never counts a block that is not durable.
/// 3. When all are there and durable, the oldest disk takes the youngest's identity; with it, it counts as the youngest.
/// 4. One rename puts it in the place of the youngest. The links between, and the state, are removed last.
///
/// What is interrupted goes on at the next clean; every step can be repeated.
struct DiskMerge: Sendable {
    let folder: DiskFolder
    let lock: any RemoteLock
    let gate: MachineGate
    let time: TimeSource
    let interval: Duration

    private var files: any RemoteFiles { folder.files }

    /// - Parameters:
    ///   - chain: Names, oldest first; at least two.
    ///   - begun: Where it was begun before.
    /// - Returns: Bytes of the blocks that were put into the oldest disk, over all runs of this merge.
    func run(_ chain: [String], begun: MergeState?, _ task: TaskNode) async throws -> UInt64 {
        guard let oldest = chain.first, chain.count > 1 else { return 0 }
        try lock.requireHeld()
        var opened: [any RemoteFile] = []
        do {
            let (base, isWhole) = try await openOldest(oldest, isBegun: begun != nil, &opened)
            let uuid = await base.uuid
            var state: MergeState
            if let begun, begun.step == .cleanup || begun.child == uuid {
                state = begun
                try await identify(base, isWhole: isWhole, &state, oldest)
            } else {
                var links: [VHDFile] = []
                for name in chain.dropFirst() { links.insert(try await open(name, .strict, .read, &opened), at: 0) }
                let blocks = try await VHDChain.open(links, isPart: true)
                guard let child = links.first, let next = links.last, await next.parentUUID == uuid else {
                    throw BackupFailure(.corruptData, "\(base.name) is not the parent of \(chain[1])")
                }
                state = MergeState(
                    parent: uuid, child: await child.uuid, chain: chain, diskBytes: await base.size)
                if let begun {
                    state.currentBlock = begun.currentBlock
                    state.mergedBytes = begun.mergedBytes
                }
                try await write(state, oldest)
                if await child.size > (await base.size) { try await grow(base, to: await child.size) }
                try await copy(blocks, into: base, &state, oldest, task)
                var footer = await base.footer
                footer.uuid = await child.uuid
                footer.timeStamp = await child.footer.timeStamp
                try lock.requireHeld()
                try await base.finish(footer)
                state.step = .cleanup
                try await write(state, oldest)
            }
            for file in opened { await file.close() }
            try await rename(chain)
            return state.mergedBytes
        } catch {
            for file in opened { await file.close() }
            throw error
        }
    }

    private func open(
        _ name: String, _ strictness: VHDFile.Strictness, _ access: RemoteFileAccess, _ opened: inout [any RemoteFile]
    ) async throws -> VHDFile {
        let path = folder.path(name)
        let file = try await files.open(path, access)
        opened.append(file)
        return try await VHDFile.open(RemoteAccess(file: file), name: "/\(path)", strictness)
    }

    private func openOldest(
        _ name: String, isBegun: Bool, _ opened: inout [any RemoteFile]
    ) async throws -> (VHDFile, isWhole: Bool) {
        do {
            return (try await open(name, .strict, .update, &opened), true)
        } catch let failure as BackupFailure where failure.kind == .corruptData && isBegun {
            return (try await open(name, .lenient, .update, &opened), false)
        }
    }

    private func write(_ state: MergeState, _ oldest: String) async throws {
        try await files.write(folder.path(MergeState.name(of: oldest)), state.encoded, .replace)
    }

    /// Blocks may have to move: nobody may read meanwhile.
    private func grow(_ base: VHDFile, to size: UInt64) async throws {
        let isDone = try await gate.ifUnread(folder.machine.vm) {
            try await base.grow(to: size)
            return true
        }
        guard isDone != nil else {
            throw BackupFailure(
                .unavailable, "The merge into \(base.name) waits: a backup of this machine is being read")
        }
    }

    private func copy(
        _ blocks: VHDChain, into base: VHDFile, _ state: inout MergeState, _ oldest: String, _ task: TaskNode
    ) async throws {
        let present = try await blocks.presentBlocks()
        let waiting = Array(present.drop { $0 < state.currentBlock })
        var noted = time.nanoseconds()
        var block = try await fetch(blocks, waiting.first)
        for (position, index) in waiting.enumerated() {
            try Task.checkCancellation()
            let following = position + 1 < waiting.count ? waiting[position + 1] : nil
            // The next one is read while this one is written.
            async let ahead = fetch(blocks, following)
            if let block {
                try await base.write(block)
                state.mergedBytes += UInt64(DiskGeometry.blockBytes)
            }
            block = try await ahead
            state.currentBlock = index + 1
            task.progress(Double(position + 1) / Double(waiting.count))
            let now = time.nanoseconds()
            if Duration.nanoseconds(now - noted) >= interval, position + 1 < waiting.count {
                try lock.requireHeld()
                try await base.sync()
                try await write(state, oldest)
                noted = now
            }
        }
        try await base.sync()
        try await write(state, oldest)
    }

    private func fetch(_ blocks: VHDChain, _ index: Int?) async throws -> VHDBlock? {
        guard let index else { return nil }
        return try await blocks.merged(index)
    }

    /// Gives the oldest disk the youngest's identity, where that was not finished; its blocks are all there.
    private func identify(_ base: VHDFile, isWhole: Bool, _ state: inout MergeState, _ oldest: String) async throws {
        var footer = await base.footer
        let found = footer.uuid
        if let child = state.child { footer.uuid = child }
        if !isWhole || found != footer.uuid { try await base.finish(footer) }
        guard state.step != .cleanup else { return }
        state.step = .cleanup
        try await write(state, oldest)
    }

    private func rename(_ chain: [String]) async throws {
        guard let oldest = chain.first, let youngest = chain.last else { return }
        try lock.requireHeld()
        try await files.move(folder.path(oldest), to: folder.path(youngest), .replace)
        for name in chain.dropFirst().dropLast().reversed() { try await files.remove(folder.path(name)) }
        try await files.remove(folder.path(MergeState.name(of: oldest)))
    }
}

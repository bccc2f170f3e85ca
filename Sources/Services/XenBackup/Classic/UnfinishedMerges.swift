import BackupFormats
import VirtualDisks

/// Decides what becomes of merges that somebody began in a folder of disks: Cairn or Xen Orchestra.
struct UnfinishedMerges: Sendable {
    enum Verdict {
        /// The oldest disk is gone: its merge has ended.
        case orphan
        /// No backup needs the chain any more.
        case pointless
        case resume([String], MergeState)
    }

    let scan: DiskScan
    let references: DiskReferences

    /// - Throws: ``DiskScan/Untouchable`` where nothing can be done without harm.
    func verdict(on oldest: String) async throws -> Verdict {
        guard scan.names.contains(oldest) else { return .orphan }
        let referenced = references.names(in: scan.folder.path).union(scan.names.filter(references.listing.mayOwn))
        guard !referenced.contains(oldest) else {
            throw DiskScan.Untouchable(description: "a merge was begun into \(oldest), which a backup needs")
        }
        guard let disk = scan.disks[oldest] else {
            throw DiskScan.Untouchable(
                description: "a merge was begun into \(oldest), which is damaged: \(scan.fault(of: oldest))")
        }
        let state = try await readState(oldest)
        if let state, state.step == .cleanup || state.child == disk.uuid {
            guard let chain = finishedChain(oldest, state, referenced) else { return .pointless }
            return .resume(chain, state)
        }
        guard let chain = begunChain(oldest, state, referenced) else { return .pointless }
        return .resume(chain, state ?? MergeState(unknown: chain))
    }

    /// One that nobody can read was not finished: the merge begins anew.
    private func readState(_ oldest: String) async throws -> MergeState? {
        do {
            return try await scan.folder.mergeState(of: oldest)
        } catch let failure as BackupFailure where failure.kind == .corruptData {
            return nil
        }
    }

    /// Where everything is in the oldest disk; the others may be gone already.
    private func finishedChain(_ oldest: String, _ state: MergeState, _ referenced: Set<String>) -> [String]? {
        if state.chain.first == oldest, state.chain.count > 1 { return state.chain }
        if let child = state.child,
            let youngest = scan.disks.values.first(where: { $0.uuid == child && $0.name != oldest })?.name
        {
            return scan.chain(from: oldest, to: youngest) ?? [oldest, youngest]
        }
        // Removed before its name was given on: a backup still asks for it.
        let missing = referenced.filter { !scan.names.contains($0) }.sorted()
        let wanted = missing.first { name in
            references.uuids[scan.folder.path(name)].flatMap { DiskUUID(parsing: $0) } == state.child
        }
        return wanted.map { [oldest, $0] }
    }

    private func begunChain(_ oldest: String, _ state: MergeState?, _ referenced: Set<String>) -> [String]? {
        if let state, state.chain.first == oldest, state.chain.count > 1, let youngest = state.chain.last,
            scan.chain(from: oldest, to: youngest) == state.chain, isNeeded(youngest, referenced)
        {
            return state.chain
        }
        if let child = state?.child,
            let youngest = scan.disks.values.first(where: { $0.uuid == child && $0.name != oldest })?.name,
            let chain = scan.chain(from: oldest, to: youngest), isNeeded(youngest, referenced)
        {
            return chain
        }
        return scan.mergeable(referenced: referenced).first { $0.first == oldest }
    }

    /// Whether a backup needs this disk or one that is a difference to it.
    private func isNeeded(_ name: String, _ referenced: Set<String>) -> Bool {
        referenced.contains { scan.chain(from: name, to: $0) != nil }
    }

    /// Whether what younger disks hold is in the oldest one, too.
    func holds(_ oldest: String, allOf younger: [String]) async throws -> Bool {
        var opened: [any RemoteFile] = []
        do {
            var links: [VHDFile] = []
            for name in [oldest] + younger {
                let path = scan.folder.path(name)
                let file = try await scan.folder.files.open(path, .read)
                opened.append(file)
                links.append(try await VHDFile.open(RemoteAccess(file: file), name: "/\(path)", .strict))
            }
            let result = try await Self.holds(links)
            for file in opened { await file.close() }
            return result
        } catch {
            for file in opened { await file.close() }
            throw error
        }
    }

    private static func holds(_ links: [VHDFile]) async throws -> Bool {
        guard let oldest = links.first, let youngest = links.last else { return false }
        guard await oldest.size == (await youngest.size) else { return false }
        // Only the sectors of the youngest are compared that it holds itself.
        let view = try await VHDChain.open(Array(links.dropFirst().reversed()), isPart: true)
        for index in try await view.presentBlocks() {
            try Task.checkCancellation()
            guard let wanted = try await view.merged(index) else { continue }
            guard let found = try await oldest.block(index) else { return false }
            for run in wanted.sectors.runs() {
                let range = run.lowerBound * 512..<run.upperBound * 512
                guard found.bytes[range] == wanted.bytes[range] else { return false }
            }
        }
        return true
    }
}

import BackupFormats
import BackupProtocol
import BlobCoding
import Crypto
import Datastore
import Platform
import Tasks

/// Copies one snapshot into a datastore, or brings one that is there up to the source's state. (Spec: formats §9.13,
/// steps 3 to 6.)
struct SnapshotPull: Sendable {
    /// Bytes that are read from a body at once.
    private static let pieceBytes = 1 << 20

    let snapshot: SnapshotName
    /// At the source.
    let origin: Namespace
    /// Here.
    let namespace: Namespace
    let owner: AuthID
    let store: Datastore
    let source: any SyncSource
    /// Chunks known to be good here.
    let trusted: InUseSet
    let isSameStore: Bool
    /// Whether the local state is to be trusted in nothing.
    let isAgain: Bool
    let task: RunningTask
    let workers: WorkerPool
    let coders: BlobCoders
    let policy: SyncPolicy
    let statistics: SyncStatistics

    /// For the list of what has arrived.
    private var key: String { "\(namespace):\(snapshot)" }

    /// - Throws: ``BackupFailure``; the datastore then has what it had before, and no half snapshot.
    func run() async throws {
        task.log("\(isAgain ? "re-sync" : "sync") snapshot \(snapshot)")
        var attempt = 1
        while true {
            do {
                try await copyOnce()
                store.arrivals.forget(key)
                return
            } catch let failure as BackupFailure where failure.kind == .unavailable && attempt < policy.attempts {
                task.log("\(failure)")
                task.log("beginning \(snapshot) again; what has arrived stays")
                keepArrivals()
                try task.checkAborted()
                try await Task.sleep(for: policy.pause * attempt)
                attempt += 1
            } catch {
                keepArrivals()
                throw error
            }
        }
    }

    private func keepArrivals() {
        do { try store.arrivals.keep(key) } catch {
            task.log("what has arrived cannot be written down for the next run: \(error)")
        }
    }

    private func copyOnce() async throws {
        let remote = try await source.open(snapshot, in: origin)
        do {
            try await copy(from: remote)
            await remote.close()
        } catch {
            await remote.close()
            throw error
        }
    }

    private func copy(from remote: any SnapshotSource) async throws {
        guard let bytes = try await remote.blob(.manifest) else {
            task.log("snapshot \(snapshot) has no manifest at the source: it is being written or was removed; skipped")
            statistics.add { $0.skipped += 1 }
            return
        }
        let manifest: Manifest
        do { manifest = try Manifest(blob: bytes) } catch {
            throw BackupFailure(.corruptData, "The manifest of \(snapshot) at the source cannot be read", cause: error)
        }
        guard manifest.snapshot == snapshot else {
            throw BackupFailure(
                .corruptData, "The manifest of \(snapshot) at the source is that of \(manifest.snapshot)")
        }
        let old = try await workers.run { [self] in try LocalState(of: snapshot, in: namespace, store) }
        if old.manifestBytes == bytes, !isAgain {
            try await addMissingLog(from: remote)
            task.log("no data changes")
            statistics.add { $0.unchanged += 1 }
            return
        }
        try old.allowReplacement(by: manifest)
        let wanted =
            isAgain
            ? manifest.files
            : try await workers.run { [self] in manifest.files.filter { !old.has($0, store) } }
        let target = try await workers.run { [self] in try begin(old) }
        do {
            try await fill(target, wanted, bytes, from: remote)
        } catch {
            try? await workers.run { target.discard() }
            throw error
        }
        statistics.add { if old.isThere { $0.repaired += 1 } else { $0.copied += 1 } }
        task.log("sync snapshot \(snapshot) done")
    }

    private func begin(_ old: LocalState) throws -> any CopyTarget {
        guard old.isThere else {
            return try store.beginSnapshot(
                SnapshotRequest(namespace: namespace, snapshot: snapshot, owner: owner, task: "\(task.upid)"))
        }
        return try store.beginRepair(of: snapshot, in: namespace, purpose: "the synchronisation of task \(task.upid)")
    }

    private func fill(
        _ target: any CopyTarget, _ files: [Manifest.File], _ manifest: [UInt8], from remote: any SnapshotSource
    ) async throws {
        let chunks = ChunkCopy(
            store: store, inUse: target.chunks, arrivals: store.arrivals.open(key),
            trusted: isAgain ? InUseSet() : trusted, isSameStore: isSameStore, source: remote, coders: coders,
            workers: workers, width: policy.width, statistics: statistics, check: { [task] in try task.checkAborted() })
        for file in files {
            try task.checkAborted()
            if file.name.kind == .blob {
                try await copyBlob(file, to: target, from: remote)
            } else {
                try await copyIndex(file, to: target, from: remote, chunks)
            }
        }
        if let log = try await clientLog(remote), !files.contains(where: { $0.name == .clientLog }) {
            try await workers.run { try target.writeBlob(.clientLog, log) }
        }
        try await workers.run { [task] in try target.finish(manifest: manifest) { task.log($0) } }
        target.chunks.copy(to: trusted)
    }

    // MARK: Files

    private func copyBlob(_ file: Manifest.File, to target: any CopyTarget, from remote: any SnapshotSource)
        async throws
    {
        let place = "\(file.name) of \(snapshot)"
        task.log("sync archive \(file.name)")
        guard let blob = try await remote.blob(file.name) else {
            throw BackupFailure(.corruptData, "\(place) is missing at the source")
        }
        try await workers.run {
            guard UInt64(blob.count) == file.size else {
                throw BackupFailure(
                    .corruptData, "\(place) is of \(blob.count) bytes, and the manifest says \(file.size)")
            }
            if let checksum = file.checksum, ChunkDigest(SHA256.hash(data: blob)) != checksum {
                throw BackupFailure(.corruptData, "\(place) has another checksum than the manifest says")
            }
            try Self.verify(blob, place)
            try target.writeBlob(file.name, blob)
        }
        statistics.add { $0.bytes += blob.count }
    }

    private func copyIndex(
        _ file: Manifest.File, to target: any CopyTarget, from remote: any SnapshotSource, _ chunks: ChunkCopy
    ) async throws {
        task.log("sync archive \(file.name)")
        let limit = Self.indexLimit(file)
        let copy = try await workers.run { try target.importIndex(file.name, limit: limit) }
        do {
            let body = try await remote.index(file.name, limit: limit)
            while let piece = try await body.read(upTo: Self.pieceBytes) {
                try await workers.run { try copy.write(piece) }
                statistics.add { $0.bytes += piece.count }
            }
            let before = statistics.figures
            let index = try await workers.run { try copy.check(against: file) }
            try await chunks.copy(index, mode: file.cryptMode, place: "\(file.name) of \(snapshot)")
            try await workers.run { try copy.place(index) }
            let after = statistics.figures
            task.log(
                "downloaded \(ByteAmount.text(after.bytes - before.bytes)) in \(after.chunks - before.chunks) chunks,"
                    + " \(after.presentChunks - before.presentChunks) were here")
        } catch {
            copy.discard()
            throw error
        }
    }

    /// Bytes that the index of an archive can have at most: entries of chunks of 4 KiB of a fixed one, of single bytes
    /// of a dynamic one.
    private static func indexLimit(_ file: Manifest.File) -> Int {
        if file.name.kind == .fixedIndex {
            let entries = min(file.size / 4096 + 1, UInt64(1 << 24))
            return FixedIndexHeader.offset(ofEntry: Int(entries))
        }
        return DynamicIndexHeader.offset(ofEntry: Int(min(file.size, UInt64(1 << 23))))
    }

    // MARK: The client's log

    /// The log of the backup, where the source has a good one.
    private func clientLog(_ remote: any SnapshotSource) async throws -> [UInt8]? {
        guard let log = try await remote.blob(.clientLog) else { return nil }
        try Self.verify(log, "\(ArchiveName.clientLog) of \(snapshot)")
        task.log("got backup log file \(ArchiveName.clientLog)")
        return log
    }

    private func addMissingLog(from remote: any SnapshotSource) async throws {
        let hasLog = try await workers.run { [self] in
            try store.snapshot(snapshot, in: namespace).files.contains { $0.name == .clientLog }
        }
        guard !hasLog, let log = try await clientLog(remote) else { return }
        try await workers.run { [self] in try store.storeClientLog(log, for: snapshot, in: namespace) }
    }

    private static func verify(_ blob: [UInt8], _ place: String) throws {
        do { try BlobChecksum.verify(blob) } catch {
            throw BackupFailure(.corruptData, "\(place) cannot be read", cause: error)
        }
    }
}

/// What the target has of a snapshot.
private struct LocalState: Sendable {
    /// Whether there is a folder.
    let isThere: Bool
    let manifestBytes: [UInt8]?
    /// Nil where there is none, or none that can be read.
    let manifest: Manifest?
    private let namespace: Namespace
    private let snapshot: SnapshotName

    init(of snapshot: SnapshotName, in namespace: Namespace, _ store: Datastore) throws {
        self.namespace = namespace
        self.snapshot = snapshot
        do {
            isThere = try store.snapshot(snapshot, in: namespace).runningTask == nil
        } catch let failure as BackupFailure where failure.kind == .noSuchObject {
            isThere = false
        }
        let bytes = isThere ? try? store.manifestBytes(of: snapshot, in: namespace) : nil
        manifestBytes = bytes
        manifest = bytes.flatMap { try? Manifest(blob: $0) }
    }

    /// Refuses to put another backup in the place of this one. (Spec: formats §9.13, step 3.)
    func allowReplacement(by new: Manifest) throws {
        guard let manifest else { return }
        guard new.differsOnlyInUnprotected(from: manifest) else {
            throw BackupFailure(
                .conflict, "Snapshot \(snapshot) is here with another content than at the source; it is left alone",
                hints: ["Remove the snapshot here if the source's is the right one."])
        }
        guard manifest.keyFingerprint == nil || manifest.keyFingerprint == new.keyFingerprint else {
            throw BackupFailure(
                .conflict, "Snapshot \(snapshot) is here under another key than at the source; it is left alone")
        }
    }

    /// Whether the file is there as the source's manifest lists it.
    func has(_ file: Manifest.File, _ store: Datastore) -> Bool {
        guard manifest != nil, let reader = try? store.openReader(snapshot, in: namespace, purpose: "a comparison")
        else { return false }
        defer { reader.close() }
        if file.name.kind == .blob {
            guard let checksum = file.checksum, let blob = try? reader.blob(file.name) else { return false }
            return ChunkDigest(SHA256.hash(data: blob)) == checksum
        }
        guard let index = try? reader.openIndex(file.name), index.logicalSize == file.size else { return false }
        return (try? index.computeChecksum()) == file.checksum
    }
}

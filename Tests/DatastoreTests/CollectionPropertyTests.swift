import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Synchronization
import Testing

@Suite("A store that is used at random")
struct CollectionPropertyTests {
    /// 2,000 steps in all at full count, a twentieth otherwise.
    private static let steps = ProcessInfo.processInfo.environment["CAIRN_SOAK"] == nil ? 25 : 500

    @Test(
        "never loses a referenced chunk, and keeps none that nothing references",
        arguments: [
            UInt64(20_260_101), 20_260_102, 20_260_103, 20_260_104,
        ])
    func random(_ seed: UInt64) throws {
        // The seed stands in the name of the test case.
        let world = try RandomStore(seed: seed)
        for number in 0..<Self.steps {
            try world.step()
            if number % 5 == 0 { try world.check("step \(number)") }
        }
        try world.conclude()
    }
}

/// Something that was injected.
private struct Crash: Error {}

/// Fails a step of the store when it is told to; as a dead process, all steps after a crash.
private final class Faults: Sendable {
    enum Kind: Sendable { case error, crash }

    private struct State {
        var visitsLeft: Int?
        var kind = Kind.error
        var isDead = false
        var hasFired = false
    }

    private let state = Mutex(State())

    func arm(_ kind: Kind, after visits: Int) {
        state.withLock { $0 = State(visitsLeft: visits, kind: kind) }
    }

    func disarm() { state.withLock { $0 = State() } }

    /// As if the process died now.
    func die() { state.withLock { $0.isDead = true } }

    var hasFired: Bool { state.withLock { $0.hasFired || $0.isDead } }

    func visit() throws {
        try state.withLock { state in
            if state.isDead { throw Crash() }
            guard let left = state.visitsLeft else { return }
            state.visitsLeft = left > 0 ? left - 1 : nil
            guard left == 0 else { return }
            state.hasFired = true
            if state.kind == .error { throw SystemError("fault", "injected", code: 5) }
            state.isDead = true
            throw Crash()
        }
    }
}

/// A backup of one stream, step by step.
private struct OpenBackup: Sendable {
    let name: SnapshotName
    let stage: SnapshotStage
    let writer: any IndexWriter
    var checksum = DynamicIndexChecksum()
    var digests: [ChunkDigest] = []
    /// Chunks that the base has: they may be appended without an upload.
    var known: [(digest: ChunkDigest, length: Int)] = []

    init(_ name: SnapshotName, in store: Datastore) throws {
        self.name = name
        stage = try store.beginSnapshot(
            SnapshotRequest(
                namespace: .root, snapshot: name, owner: SampleBackup.owner, task: SampleBackup.task))
        do {
            writer = try stage.createDynamicIndex(SampleBackup.stream)
            if stage.base != nil {
                try stage.openPreviousIndex(SampleBackup.stream).forEach { known.append(($0.digest, $0.length)) }
            }
        } catch {
            stage.discard()
            throw error
        }
    }

    mutating func add(_ pieces: [[UInt8]], reusing places: [Int], in store: Datastore) throws {
        for piece in pieces { try append(try store.insert(piece, stage), piece.count) }
        for place in places where !known.isEmpty {
            let chunk = known[place % known.count]
            try append(chunk.digest, chunk.length)
        }
    }

    private mutating func append(_ digest: ChunkDigest, _ length: Int) throws {
        let start = checksum.size
        try writer.append(digest, length: length, at: start)
        try checksum.add(DynamicIndexEntry(end: start + UInt64(length), digest: digest))
        digests.append(digest)
    }

    func publish() throws {
        do {
            _ = try writer.close(
                chunkCount: checksum.count, size: checksum.size, checksum: checksum.value.bytes)
            var manifest = Manifest(snapshot: name)
            manifest.add(
                .init(
                    name: SampleBackup.stream, cryptMode: .none, size: checksum.size, checksum: checksum.value))
            try stage.writeBlob(.manifest, try manifest.blob())
            try stage.publish(.init(count: UInt64(digests.count), size: 0, compressedSize: 0, duplicates: 0)).close()
        } catch {
            stage.discard()
            throw error
        }
    }
}

/// A store, and what ought to be in it.
private final class RandomStore {
    private let folder: TemporaryFolder
    private let faults = Faults()
    private var store: Datastore
    private var random: SeededRandom
    private let pool: [[UInt8]]
    /// What was published and not removed.
    private var model: [SnapshotName: [ChunkDigest]] = [:]
    private var open: [OpenBackup] = []
    /// What a failed step may have published or removed all the same.
    private var inDoubt: [SnapshotName: [ChunkDigest]] = [:]
    private var removing: Set<SnapshotName> = []
    private var clock: Int64 = 1_717_200_000

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        folder = try TemporaryFolder()
        try Datastore.create(name: "test", at: "\(folder.path)/store", options: TestStore.options)
        store = try Self.opened("\(folder.path)/store", faults)
        var content = SeededRandom(seed: seed &+ 1)
        pool = (0..<60).map { index in content.bytes(100 + index) }
    }

    private static func opened(_ path: String, _ faults: Faults) throws -> Datastore {
        var options = TestStore.options
        // Small enough that marks go to the disk.
        options.collectionMemory = 4096
        options.beforeStep = { _ in try faults.visit() }
        return try Datastore.open(name: "test", at: path, options: options)
    }

    private func number(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &random) }

    // MARK: Steps

    func step() throws {
        switch number(100) {
        case 0..<5: try crash()
        case 5..<10:
            faults.arm(.error, after: number(12))
            try simpleStep()
            faults.disarm()
            try reconcile()
        case 10..<22: try concurrently()
        default: try simpleStep()
        }
    }

    private func simpleStep() throws {
        switch number(100) {
        case 0..<25: try attempt { try backUp() }
        case 25..<35: try attempt { if let name = freeName() { open.append(try OpenBackup(name, in: store)) } }
        case 35..<50: try attempt { try advance() }
        case 50..<60: try attempt { try finish() }
        case 60..<64: if !open.isEmpty { open.remove(at: number(open.count)).stage.discard() }
        case 64..<78: try attempt { try forget(randomSnapshot()) }
        case 78..<82: try attempt { try prune() }
        case 82..<96: try attempt { try collect(store, stoppingAfter: number(4) == 0 ? number(60) : nil) }
        default: try attempt { try verify() }
        }
    }

    /// Runs something that may fail for good reasons, and finds out what it did.
    private func attempt(_ body: () throws -> Void) throws {
        do { try body() } catch let failure as BackupFailure
            where [.conflict, .cancelled].contains(failure.kind) || faults.hasFired
        {
        } catch  where faults.hasFired {}
        if !faults.hasFired { try reconcile() }
    }

    private func pieces() -> [[UInt8]] { (0..<1 + number(6)).map { _ in pool[number(pool.count)] } }
    private func places() -> [Int] { (0..<number(5)).map { _ in number(1000) } }

    /// The next snapshot of a group that nobody writes to.
    private func freeName() -> SnapshotName? {
        let busy = Set(open.map(\.name.group))
        let groups = (0..<5).compactMap { BackupGroup(type: .host, id: "g\($0)") }.filter { !busy.contains($0) }
        guard !groups.isEmpty else { return nil }
        clock += 1
        return SnapshotName(group: groups[number(groups.count)], time: clock)
    }

    private func randomSnapshot() -> SnapshotName? {
        let names = model.keys.sorted()
        return names.isEmpty ? nil : names[number(names.count)]
    }

    private func backUp() throws {
        guard let name = freeName() else { return }
        var backup = try OpenBackup(name, in: store)
        defer { backup.stage.discard() }
        try backup.add(pieces(), reusing: places(), in: store)
        inDoubt[name] = backup.digests
        try backup.publish()
        model[name] = backup.digests
    }

    private func advance() throws {
        guard !open.isEmpty else { return }
        let index = number(open.count)
        do { try open[index].add(pieces(), reusing: places(), in: store) } catch {
            // The index and its checksum may no longer agree.
            open.remove(at: index).stage.discard()
            throw error
        }
    }

    private func finish() throws {
        guard !open.isEmpty else { return }
        var backup = open.remove(at: number(open.count))
        if backup.digests.isEmpty { try backup.add(pieces(), reusing: [], in: store) }
        inDoubt[backup.name] = backup.digests
        try backup.publish()
        model[backup.name] = backup.digests
    }

    private func forget(_ name: SnapshotName?) throws {
        guard let name else { return }
        removing.insert(name)
        try store.removeSnapshot(name, in: .root)
        model[name] = nil
    }

    /// Keeps the newest snapshot of a group.
    private func prune() throws {
        guard let group = randomSnapshot()?.group else { return }
        for name in model.keys.filter({ $0.group == group }).sorted().dropLast() { try forget(name) }
    }

    private func collect(_ store: Datastore, stoppingAfter limit: Int?) throws {
        try Self.collect(store, stoppingAfter: limit)
    }

    @discardableResult
    private static func collect(_ store: Datastore, stoppingAfter limit: Int?) throws -> CollectionStatus {
        let asked = Counter()
        let observer = CollectionObserver(isCancelled: { limit.map { asked.next() > $0 } ?? false })
        return try store.reserveCollection().collect(task: TestStore.collectionTask, width: 3, observer: observer)
    }

    private func verify() throws {
        for name in model.keys {
            let reader = try store.openReader(name, in: .root, purpose: "a test")
            defer { reader.close() }
            let errors = try SnapshotVerifier(store, task: SampleBackup.task).verify(reader).errors
            // What an injected fault does to the verification is not the store's state.
            if !faults.hasFired { #expect(errors == [], "\(name)") }
        }
    }

    /// A collection, a backup, a running session that goes on, and a removal, all at once.
    private func concurrently() throws {
        let name = freeName()
        let (first, second) = ((pieces(), places()), (pieces(), places()))
        let victim = randomSnapshot()
        let going = open.isEmpty ? nil : open.remove(at: number(open.count))
        let limit = number(5) == 0 ? number(200) : nil
        let results = Mutex<(backup: OpenBackup?, going: OpenBackup?, isRemoved: Bool)>((nil, nil, false))
        let failures = Mutex<[any Error]>([])
        let store = store
        if let name { inDoubt[name] = [] }
        if let victim { removing.insert(victim) }
        try Threads.forEach(count: 4, width: 4) { part in
            do {
                switch part {
                case 0: try Self.collect(store, stoppingAfter: limit)
                case 1:
                    guard let name else { return }
                    var backup = try OpenBackup(name, in: store)
                    try backup.add(first.0, reusing: first.1, in: store)
                    try backup.publish()
                    results.withLock { [backup] in $0.backup = backup }
                case 2:
                    guard var going else { return }
                    try going.add(second.0, reusing: second.1, in: store)
                    results.withLock { [going] in $0.going = going }
                default:
                    guard let victim else { return }
                    try store.removeSnapshot(victim, in: .root)
                    results.withLock { $0.isRemoved = true }
                }
            } catch { failures.withLock { $0.append(error) } }
        }
        for failure in failures.withLock({ $0 }) {
            let kind = (failure as? BackupFailure)?.kind
            // The base may go before it is locked.
            #expect(kind == .conflict || kind == .cancelled || kind == .noSuchObject, "\(failure)")
        }
        let result = results.withLock { $0 }
        if let backup = result.backup { model[backup.name] = backup.digests }
        if let going = result.going { open.append(going) } else { going?.stage.discard() }
        if result.isRemoved, let victim { model[victim] = nil }
        try reconcile()
    }

    /// The process dies at some step; another one opens the store.
    private func crash() throws {
        faults.arm(.crash, after: number(40))
        for _ in 0..<3 where !faults.hasFired { try simpleStep() }
        faults.die()
        let path = store.path
        open = []
        weak let old = store
        // Stands in for the store for a moment, so that the old one goes with all its locks.
        let other = try TestStore()
        store = other.store
        // Threads that have ended let go of it a moment later.
        for _ in 0..<6000 where old != nil { usleep(10_000) }
        #expect(old == nil, "somebody holds the dead store")
        faults.disarm()
        store = try Self.opened(path, faults)
        try reconcile()
    }

    // MARK: Checks

    /// Brings the model up to what is listed, where that is in doubt.
    private func reconcile() throws {
        let listed = Set(try store.snapshots(in: .root).filter(\.isFinished).map(\.name))
        for name in listed where model[name] == nil {
            if removing.contains(name) { continue }
            let digests = try #require(inDoubt[name], "\(name) comes from nowhere")
            model[name] = digests
        }
        for name in model.keys where !listed.contains(name) {
            #expect(removing.contains(name), "\(name) has vanished")
            model[name] = nil
        }
        inDoubt = [:]
        removing = []
    }

    /// Each chunk of each snapshot is there, and each snapshot is what was backed up.
    func check(_ label: String) throws {
        for (name, digests) in model {
            let reader = try store.openReader(name, in: .root, purpose: "a test")
            defer { reader.close() }
            var listed: [ChunkDigest] = []
            try reader.openIndex(SampleBackup.stream).forEach { listed.append($0.digest) }
            #expect(listed == digests, "\(label): \(name)")
            for digest in digests {
                #expect(try store.chunks.byteCount(of: digest) != nil, "\(label): \(name) lost chunk \(digest)")
            }
        }
    }

    /// Ends all sessions and collects for the last time.
    func conclude() throws {
        for backup in open { backup.stage.discard() }
        open = []
        try Self.collect(store, stoppingAfter: nil)
        try check("the end")
        try verify()
        var files: Set<String> = []
        for prefix in try FileSystem.list("\(store.path)/.chunks") {
            files.formUnion(try FileSystem.list("\(store.path)/.chunks/\(prefix)"))
        }
        #expect(files == Set(model.values.joined().map { "\($0)" }))
    }
}

private final class Counter: Sendable {
    private let value = Atomic(0)
    func next() -> Int { value.wrappingAdd(1, ordering: .relaxed).newValue }
}

import BackupFormats
import Platform
import Synchronization

/// How folder locks keep time. All who share a remote must agree on the first two. (Spec: xo-proxy §4.7.)
package struct LockTiming: Sendable {
    /// A held lock is touched so often.
    package var refresh: Duration = .seconds(5)
    /// A lock that was not touched for so long belongs to nobody.
    package var stale: Duration = .seconds(10)
    /// An old lock is taken over only after it was watched for so long and did not change: the clock of its holder may
    /// be wrong. Longer than `refresh`.
    package var watch: Duration = .seconds(6)
    /// Without watching, where it is older than this.
    package var abandoned: Duration = .seconds(3600)
    /// How often somebody who waits looks.
    package var poll: Duration = .milliseconds(500)

    package init() {}
}

/// Where a lock lies, whatever the path to it.
struct LockPlace: Hashable, Sendable {
    let folder: NodeIdentity
    let name: String
}

/// The locks that a process holds. It never takes them over from itself, however busy the machine is.
package final class LockRegistry: Sendable {
    package static let process = LockRegistry()
    let held = Mutex<Set<LockPlace>>([])

    /// For tests, in which one process stands for several machines.
    package init() {}
}

/// The folder locks of one remote: `<path>.lock`, made by `mkdir`, whose modification time says that the holder lives.
///
/// The same convention as Xen Orchestra's own, so that both may write one remote. Ages are judged by the clock of the
/// file system alone. Among Cairns a stale lock is taken over under a second folder, `.<name>.lock.takeover.lock`, where
/// it is looked at again, so that only one can; Xen Orchestra, which does not know it, may in the same moment take the
/// lock from the new holder, who then sees that it is lost.
final class LockKeeper: Sendable {
    /// The holder of a lock, as the file system shows it.
    struct Sight: Equatable, Sendable {
        let identity: NodeIdentity
        let seconds: Int64
        let nanoseconds: UInt32

        init(_ info: NodeInfo) {
            identity = info.identity
            seconds = info.modifiedSeconds
            nanoseconds = info.modifiedNanoseconds
        }

        func age(at later: Sight) -> Duration {
            .seconds(later.seconds - seconds) + .nanoseconds(Int64(later.nanoseconds) - Int64(nanoseconds))
        }
    }

    enum Attempt: Sendable {
        case taken(Taken)
        case held(Sight)
    }

    struct Taken: Sendable {
        let place: LockPlace
        let sight: Sight
        /// From a holder who did not touch it any more.
        let isInherited: Bool
    }

    private let tree: FileTree
    private let timing: LockTiming
    private let registry: LockRegistry
    /// Apart from those for files, so that no long write keeps a lock from being touched.
    private let workers: WorkerPool
    private let open = Mutex<[ObjectIdentifier: FolderLock]>([:])

    init(tree: FileTree, timing: LockTiming, registry: LockRegistry) {
        self.tree = tree
        self.registry = registry
        self.timing = timing
        workers = WorkerPool(name: "locks of \(tree.name)", width: 1)
    }

    deinit { workers.close() }

    func lock(_ path: RemotePath, patience: Duration) async throws -> FolderLock {
        guard let last = path.names.last else { throw BackupFailure(.invalidInput, "The root of a remote has no lock") }
        let place = RemotePath(names: path.names.dropLast() + ["\(last).lock"])
        let clock = ContinuousClock()
        let end = clock.now + patience
        var watched: (sight: Sight, since: ContinuousClock.Instant)?
        while true {
            let known = watched
            let isWatched = known.map { clock.now - $0.since >= timing.watch } ?? false
            switch try await attempt(place, stale: isWatched ? known?.sight : nil) {
            case .taken(let taken):
                let lock = FolderLock(place, taken, keeper: self, timing: timing)
                open.withLock { $0[ObjectIdentifier(lock)] = lock }
                // Whoever saw the old lock as stale in the same moment has removed ours by now.
                if taken.isInherited {
                    try? await clock.sleep(for: .milliseconds(100))
                    await lock.refresh()
                }
                if lock.isHeld, !Task.isCancelled { return lock }
                await lock.release()
                try Task.checkCancellation()
            case .held(let sight):
                if watched?.sight != sight { watched = (sight, clock.now) }
            }
            guard clock.now < end else {
                throw Self.isHeldElsewhere("\(path) of the remote \(tree.name)")
            }
            try await clock.sleep(for: min(timing.poll, end - clock.now))
        }
    }

    /// The words by which callers know it. (Spec: §4.7.)
    static func isHeldElsewhere(_ place: String) -> BackupFailure {
        BackupFailure(
            .conflict, "Lock file is already being held",
            hints: ["Another job, or another proxy, works on \(place)."])
    }

    func releaseAll() async {
        for lock in open.withLock({ Array($0.values) }) { await lock.release() }
    }

    /// Tries once. `stale`: the lock as it stood for a while, which may be taken over if it still stands so.
    private func attempt(_ path: RemotePath, stale: Sight?) async throws -> Attempt {
        let timing = timing
        let registry = registry
        return try await run("\(path) cannot be locked") { tree throws(SystemError) in
            let (folder, name) = try tree.parent(of: path, isMade: true)
            let place = LockPlace(folder: try folder.info().identity, name: name)
            guard registry.held.withLock({ $0.insert(place).inserted }) else {
                return .held(Sight(try folder.info()))
            }
            do throws(SystemError) {
                if let taken = try Self.take(place, in: folder, stale: stale, tree.time, timing) {
                    return .taken(taken)
                }
            } catch {
                registry.held.withLock { _ = $0.remove(place) }
                throw error
            }
            registry.held.withLock { _ = $0.remove(place) }
            if let sight = try Self.look(at: name, in: folder) { return .held(sight) }
            return .held(Sight(try folder.info()))
        }
    }

    private static func take(
        _ place: LockPlace, in folder: OpenNode, stale: Sight?, _ time: TimeSource, _ timing: LockTiming
    ) throws(SystemError) -> Taken? {
        let isOld = stale != nil || mayBeAbandoned(place.name, in: folder, time, timing)
        if let sight = try make(place.name, in: folder) { return Taken(place: place, sight: sight, isInherited: false) }
        guard isOld, let sight = try inherit(place.name, in: folder, stale: stale, timing) else { return nil }
        return Taken(place: place, sight: sight, isInherited: true)
    }

    /// A mere hint, by a clock that may be wrong: whether it is worth asking the file system's.
    private static func mayBeAbandoned(
        _ name: String, in folder: OpenNode, _ time: TimeSource, _ timing: LockTiming
    ) -> Bool {
        guard let sight = try? look(at: name, in: folder) else { return false }
        return .seconds(time.seconds - sight.seconds) > timing.abandoned
    }

    /// Takes over a lock that nobody touches any more; nil where it is touched, or somebody else was faster.
    private static func inherit(
        _ name: String, in folder: OpenNode, stale: Sight?, _ timing: LockTiming
    ) throws(SystemError) -> Sight? {
        let guardName = ".\(name).takeover.lock"
        guard let now = try make(guardName, in: folder) else {
            try clearGuard(guardName, in: folder, timing)
            return nil
        }
        defer { _ = try? folder.removeFolder(Array(guardName.utf8)) }
        guard let sight = try look(at: name, in: folder) else { return nil }
        let age = sight.age(at: now)
        guard age > timing.stale, sight == stale || age > timing.abandoned else { return nil }
        try folder.removeFolder(Array(name.utf8))
        return try make(name, in: folder)
    }

    /// Removes the guard of a take-over whose process died within the moment that one takes.
    private static func clearGuard(_ name: String, in folder: OpenNode, _ timing: LockTiming) throws(SystemError) {
        let clockName = "\(name).clock.lock"
        _ = try make(clockName, in: folder)
        defer { _ = try? folder.removeFolder(Array(clockName.utf8)) }
        try folder.touch(clockName)
        guard let now = try look(at: clockName, in: folder), let sight = try look(at: name, in: folder),
            sight.age(at: now) > timing.abandoned
        else { return }
        try folder.removeFolder(Array(name.utf8))
    }

    /// nil where it exists.
    private static func make(_ name: String, in folder: OpenNode) throws(SystemError) -> Sight? {
        do throws(SystemError) {
            try folder.makeFolder(Array(name.utf8))
        } catch {
            if error.isExisting { return nil }
            throw error
        }
        return try look(at: name, in: folder)
    }

    /// nil where it does not exist.
    private static func look(at name: String, in folder: OpenNode) throws(SystemError) -> Sight? {
        do throws(SystemError) {
            return Sight(try folder.info(of: Array(name.utf8)))
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    // MARK: For the locks

    /// Touches a lock that stands as `last`; nil where it does not any more.
    func touch(_ path: RemotePath, last: Sight) async throws -> Sight? {
        try await run("\(path) cannot be touched") { tree throws(SystemError) in
            let (folder, name) = try tree.parent(of: path, isMade: false)
            guard try Self.look(at: name, in: folder) == last else { return nil }
            try folder.touch(name)
            return try Self.look(at: name, in: folder)
        }
    }

    /// Removes a lock that stands as `last`; one that is lost is left to its new holder.
    func remove(_ lock: FolderLock, _ path: RemotePath, _ place: LockPlace, last: Sight?) async {
        _ = open.withLock { $0.removeValue(forKey: ObjectIdentifier(lock)) }
        _ = try? await run("\(path) cannot be released") { tree throws(SystemError) in
            let (folder, name) = try tree.parent(of: path, isMade: false)
            guard let last, try Self.look(at: name, in: folder) == last else { return }
            try folder.removeFolder(Array(name.utf8))
        }
        registry.held.withLock { _ = $0.remove(place) }
    }

    private func run<Value: Sendable>(
        _ what: String, _ body: @escaping @Sendable (FileTree) throws(SystemError) -> Value
    ) async throws -> Value {
        let tree = tree
        return try await workers.run {
            do throws(SystemError) { return try body(tree) } catch { throw error.failure(of: tree.name, what) }
        }
    }
}

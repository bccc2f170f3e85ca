import BackupFormats
import BackupServer
import CairnTestSupport
import Datastore
import Logging
import PeerSync
import PeerSyncProtocol
import Platform
import StateDatabase
import SwiftProtobuf
import Synchronization
import Tasks

/// An instance that reports to a hub which the test plays, with everything that it needs, in a folder of its own.
final class MemberWorld: Sendable {
    static let hubName = "hub"

    let folder: TemporaryFolder
    let clock: ManualClock
    let database: StateDatabase
    let stores: DatastoreRegistry
    let tasks: TaskRegistry
    let directory: PeerDirectory
    let states = PeerStates()
    let dialer: QueueDialer
    let feed: MemberFeed
    let service: MemberService
    let hubIdentity: PeerIdentity
    private let workers = WorkerPool(name: "member test", width: 2)

    /// - Parameters:
    ///   - folder: Of an instance that was there before.
    ///   - store: Whether it has a datastore of the name `store`.
    init(
        folder: TemporaryFolder? = nil, hub: PeerIdentity? = nil, clock: ManualClock = ManualClock(),
        store: Bool = false, capacity: Int = 64, pause: Duration = .milliseconds(5), named name: String = "box",
        other: (any PeerDialer)? = nil,
        _ change: (inout MemberSettings) -> Void = { _ in }
    ) throws {
        let isNew = folder == nil
        let folder = try folder ?? TemporaryFolder()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        self.folder = folder
        self.clock = clock
        dialer = QueueDialer(capacity: capacity)
        hubIdentity = try hub ?? PeerIdentity()
        database = try StateDatabase(folder: StateFolder(path: "\(folder.path)/state"))
        if isNew, store {
            try Datastore.create(name: "store", at: "\(folder.path)/store", options: TestStore.options)
            try database.write { try $0.put(DatastoreRecord(name: "store", path: "\(folder.path)/store")) }
        }
        stores = try DatastoreRegistry(database: database, options: TestStore.options, roots: [], logger: log)
        tasks = try TaskRegistry(
            database: database, process: ProcessIdentity(node: "box", pid: 7, startTime: isNew ? 9 : 10),
            time: clock.source,
            log: log)
        directory = try PeerDirectory(database: database, name: name)
        var settings = MemberSettings()
        settings.tick = .milliseconds(20)
        change(&settings)
        let pauses = Pauses()
        settings.pause = { duration in
            pauses.add(duration)
            try await Task.sleep(for: pause)
        }
        self.recorded = pauses
        feed = MemberFeed(
            stores: stores, tasks: tasks, database: database, directory: directory, settings: settings,
            time: clock.source, log: log)
        service = MemberService(
            directory: directory, states: states, dialer: other ?? dialer, feed: feed, settings: settings,
            workers: workers,
            time: clock.source, log: log)
    }

    /// What the member was told to wait, piece by piece.
    let recorded: Pauses

    final class Pauses: Sendable {
        private let seconds = Mutex<[Double]>([])
        func add(_ duration: Duration) { seconds.withLock { $0.append(Double(duration.components.seconds)) } }
        var total: Double { seconds.withLock { $0.reduce(0, +) } }
        func reset() { seconds.withLock { $0 = [] } }
    }

    func addHub(_ grants: [(PeerGrant.Kind, [String])] = [(.readOperations, ["*"])], secret: String? = nil) throws {
        try directory.add(
            Peer(
                keyID: hubIdentity.keyID, instanceID: Self.hubName, role: .hub,
                address: try HubAddress(parsing: "http://hub.example:9898"),
                grants: try grants.map { try PeerGrant($0.0, scopes: $0.1) }, pairingSecret: secret, added: 1))
    }

    /// Works while `body` runs; the test plays the hub there. What it waits for in vain ends after some minutes.
    func run(_ body: () async throws -> Void) async throws {
        let work = Task { await service.run() }
        let watch = Task { [dialer] in
            try await Task.sleep(for: .seconds(300))
            dialer.close()
        }
        defer { watch.cancel() }
        do {
            try await body()
        } catch {
            work.cancel()
            dialer.close()
            await work.value
            throw error
        }
        work.cancel()
        dialer.close()
        await work.value
    }

    /// The hub's end of the next session that the member opens.
    func nextStream() async throws -> MemoryStream { try await dialer.next() }

    /// The next session, past its handshakes.
    func nextSession() async throws -> PlayedHub {
        let hub = try PlayedHub(try await nextStream(), as: hubIdentity)
        _ = try await hub.meet()
        return hub
    }

    /// The next session, which the hub accepts, past the member's first items.
    func acceptedSession() async throws -> PlayedHub {
        let hub = try await nextSession()
        try await hub.accept()
        while true { if case .heartbeat = try await hub.receive() { return hub } }
    }

    var state: WirePeerState? { states.state(of: hubIdentity.keyID) }

    /// Waits, for minutes if it must be, until something holds.
    func until(_ what: String = "something", _ condition: () async throws -> Bool) async throws {
        for _ in 0..<60_000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw Patience(what: what)
    }

    struct Patience: Error { let what: String }

    /// An operation as one of the feed's.
    static func content(
        _ subject: String, store: StoreView, plan: String = "store", kind: Int64 = 108, start: Int64 = 1,
        snapshot: String = "", isForgotten: Bool? = nil, message: String = ""
    ) throws -> OwnOperationContent {
        var operation = WireOperation()
        operation.repoID = store.name
        operation.repoGuid = store.guid
        operation.planID = plan
        operation.instanceID = "box"
        operation.unixTimeStartMs = start
        operation.displayMessage = message
        operation.operationRunCommand.command = subject
        return OwnOperationContent(
            subject: subject, snapshot: snapshot, repo: store.name, repoGUID: store.guid, plan: plan, kind: kind,
            start: start, isForgotten: isForgotten, payload: try operation.serializedBytes())
    }
}

/// Gives a member streams in memory, whose other ends the test takes.
final class QueueDialer: PeerDialer {
    private let streams: AsyncStream<MemoryStream>
    private let continuation: AsyncStream<MemoryStream>.Continuation
    private let failures = Mutex<[BackupFailure]>([])
    private struct State {
        var open: [MemoryStream] = []
        var isClosed = false
    }
    private let state = Mutex(State())

    private let capacity: Int

    /// - Parameter capacity: Items that a stream takes before the other side has received them.
    init(capacity: Int) {
        self.capacity = capacity
        (streams, continuation) = AsyncStream.makeStream()
    }

    /// The next attempts fail so.
    func fail(_ failures: [BackupFailure]) { self.failures.withLock { $0 += failures } }

    func dial(_ hub: HubAddress) async throws -> any PeerStream {
        if let failure = failures.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { throw failure }
        let pair = StreamPair(capacity: capacity)
        let isClosed = state.withLock { state in
            state.open.append(pair.hub)
            return state.isClosed
        }
        if isClosed { throw BackupFailure(.unavailable, "the test is over") }
        continuation.yield(pair.hub)
        return pair.member
    }

    func next() async throws -> MemoryStream {
        for await stream in streams { return stream }
        throw MemberWorld.Patience(what: "a session")
    }

    /// Cuts all streams, and gives no more.
    func close() {
        let open = state.withLock { state in
            state.isClosed = true
            return state.open
        }
        for stream in open { stream.close() }
        continuation.finish()
    }
}

/// The hub's side of a session, played by a test step by step.
final class PlayedHub: Sendable {
    let stream: MemoryStream
    private let machine: Mutex<PeerSession>
    private let received = Mutex(0)

    init(_ stream: MemoryStream, as identity: PeerIdentity, name: String = MemberWorld.hubName) throws {
        self.stream = stream
        machine = Mutex(PeerSession(hub: identity, instanceID: name, capabilities: [.logs]))
    }

    /// Outer items that have come.
    var receivedCount: Int { received.withLock { $0 } }

    private func effects() async throws -> [PeerSession.Effect] {
        guard let bytes = try await stream.receive() else { throw StreamEnd.clean }
        received.withLock { $0 += 1 }
        return try machine.withLock { try $0.receive(bytes) }
    }

    /// Up to the member's handshake.
    func meet() async throws -> Handshake {
        while true {
            for effect in try await effects() {
                switch effect {
                case .send(let item): try await stream.send(try item.serializedBytes())
                case .authorize(let handshake):
                    machine.withLock { $0.accept() }
                    return handshake
                case .verified, .received: continue
                }
            }
        }
    }

    /// Tells the member that it is one.
    func accept() async throws {
        var config = WireRemoteConfig()
        config.version = 6
        try await send(.heartbeat(capabilities: [.logs]))
        try await send(.config(config))
    }

    func send(_ item: PeerItem) async throws {
        try await stream.send(try machine.withLock { try $0.seal(item) }.serializedBytes())
    }

    func receive() async throws -> PeerItem {
        while true {
            for case .received(let item) in try await effects() { return item }
        }
    }

    /// The next item that is no heartbeat.
    func next() async throws -> PeerItem {
        while true {
            let item = try await receive()
            if case .heartbeat = item { continue }
            return item
        }
    }

    /// Asks for operations and gives those that come until the member answers another question.
    func operations(_ ids: [Int64]) async throws -> [WireOperation] {
        try await send(.operationRequest(ids: ids))
        var found: [WireOperation] = []
        while Set(found.map(\.id)) != Set(ids) { found += try await next().operationsOfEvent }
        return found
    }
}

extension PeerItem {
    var operationsOfEvent: [WireOperation] {
        guard case .operations(let event) = self else { return [] }
        return event.createdOperations.operations + event.updatedOperations.operations
    }
}

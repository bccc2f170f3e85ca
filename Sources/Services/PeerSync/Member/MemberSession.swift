import BackupFormats
import Logging
import PeerSyncProtocol
import Platform
import SwiftProtobuf
import Synchronization

/// One session with a hub, from the key exchange to its end. One task reads, one writes.
/// (Spec: backrest-sync §5.1, §5.5 to §5.8.)
final class MemberSession: Sendable {
    /// Bytes of operations in one item; larger ones go alone.
    private static let maxOperationBytes = 8 << 20
    /// Time for the hub's last word when the stream cannot be written any more.
    private static let lastWord = Duration.seconds(2)

    /// Why a session ended that neither side wanted to end.
    enum Interruption: Error, CustomStringConvertible {
        case clockJumped, silent

        var description: String {
            switch self {
            case .clockJumped: "the clock has jumped"
            case .silent: "nothing was heard from the hub for half an hour"
            }
        }
    }

    let peer: Peer
    let scope: MemberScope
    let stream: any PeerStream
    let feed: MemberFeed
    let settings: MemberSettings
    let workers: WorkerPool
    let log: Logger
    let outbox = MemberOutbox()
    private let directory: PeerDirectory
    private let states: PeerStates
    private let record: PeerStates.Session
    private let time: TimeSource
    private let channel: SessionChannel
    private let lastHeard = Mutex(ContinuousClock.now)
    private let accepted = Atomic(false)

    init(
        with peer: Peer, over stream: any PeerStream, as record: PeerStates.Session, directory: PeerDirectory,
        states: PeerStates, feed: MemberFeed, settings: MemberSettings, workers: WorkerPool, time: TimeSource,
        log: Logger
    ) throws {
        self.peer = peer
        self.stream = stream
        self.record = record
        self.directory = directory
        self.states = states
        self.feed = feed
        self.settings = settings
        self.workers = workers
        self.time = time
        self.log = log
        scope = try MemberScope(peer.grants)
        channel = SessionChannel(
            PeerSession(
                member: directory.identity, instanceID: directory.instanceID, of: (peer.keyID, peer.instanceID),
                pairingSecret: peer.pairingSecret ?? "", capabilities: [.logs],
                privateKey: try HybridPrivateKey()))
    }

    /// Whether the hub has taken us as its member.
    var wasAccepted: Bool { accepted.load(ordering: .relaxed) }

    /// Returns when the hub has ended the session in order.
    ///
    /// - Throws: ``StreamEnd`` with what the hub ended it with; ``PeerSyncFailure`` for what this side objects to;
    ///   ``Interruption``; other errors where the connection was cut. The stream is closed then.
    func run() async throws {
        defer { stream.close() }
        try await withTaskCancellationHandler {
            try await shakeHands()
            stream.trust()
            try await serve()
        } onCancel: {
            outbox.close()
            stream.close()
        }
    }

    // MARK: Handshake

    private func shakeHands() async throws {
        try await send(channel.opening())
        while true {
            let effects = try await withPatience { try await self.receive() }
            for effect in effects {
                switch effect {
                case .send(let item): try await send(item)
                case .verified: return
                case .authorize, .received:
                    throw PeerSyncFailure(.internalFault, "an effect of another role or state")
                }
            }
        }
    }

    private func withPatience(
        _ body: @escaping @Sendable () async throws -> [PeerSession.Effect]
    ) async throws -> [PeerSession.Effect] {
        let patience = settings.patience
        return try await withThrowingTaskGroup(of: [PeerSession.Effect].self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: patience)
                throw PeerSyncFailure(.authentication, "the hub did not answer within \(patience.components.seconds) s")
            }
            defer { group.cancelAll() }
            do { return try await group.next() ?? [] } catch {
                // What still reads is woken by it.
                stream.close()
                throw error
            }
        }
    }

    /// The effects of the next item.
    ///
    /// - Throws: ``StreamEnd/clean`` at the end of the stream.
    private func receive() async throws -> [PeerSession.Effect] {
        guard let bytes = try await stream.receive() else { throw StreamEnd.clean }
        lastHeard.withLock { $0 = .now }
        return try channel.receive(bytes)
    }

    private func send(_ item: WireSyncStreamItem) async throws { try await stream.send(try item.serializedBytes()) }

    /// For the writer only: items must leave in the order in which they are sealed.
    func send(_ item: PeerItem) async throws {
        try await stream.send(channel.seal(item))
    }

    // MARK: Session

    private enum Part: Sendable {
        case reader(Result<Void, any Error>)
        case writer(Result<Void, any Error>)
        case clock(Result<Void, any Error>)
        case lastWord
    }

    private func serve() async throws {
        let subscription = feed.subscribe(outbox)
        defer { feed.unsubscribe(subscription) }
        outbox.want(.heartbeat, .config, .resources, .manifest)
        let end = await withTaskGroup(of: Part.self) { group -> Result<Void, any Error> in
            group.addTask { .reader(await Self.result { try await self.read() }) }
            group.addTask { .writer(await Self.result { try await self.write() }) }
            group.addTask { .clock(await Self.result { try await self.keepTime() }) }
            var end: Result<Void, any Error>?
            while let part = await group.next() {
                switch part {
                case .reader(let result): end = result
                case .clock(let result): end = end ?? result
                case .lastWord: break
                case .writer(let result):
                    // Why it cannot be written may still come: the reader knows better.
                    end = result
                    group.addTask {
                        try? await Task.sleep(for: Self.lastWord)
                        return .lastWord
                    }
                    continue
                }
                break
            }
            outbox.close()
            stream.close()
            group.cancelAll()
            return end ?? .success(())
        }
        try Task.checkCancellation()
        try end.get()
    }

    private static func result(_ body: () async throws -> Void) async -> Result<Void, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }

    private func keepTime() async throws {
        var clock = ClockWatch(time, tolerance: settings.clockTolerance)
        var lastHeartbeat = ContinuousClock.now
        var lastManifest = ContinuousClock.now
        while true {
            try await Task.sleep(for: settings.tick)
            if clock.hasJumped() { throw Interruption.clockJumped }
            let now = ContinuousClock.now
            if now - lastHeard.withLock({ $0 }) > settings.silence { throw Interruption.silent }
            if now - lastHeartbeat >= settings.heartbeat {
                lastHeartbeat = now
                outbox.want(.heartbeat)
            }
            if now - lastManifest >= settings.manifestAge {
                lastManifest = now
                outbox.want(.manifest)
            }
            outbox.wakeLogs()
        }
    }

    // MARK: Reading

    private func read() async throws {
        while true {
            let effects: [PeerSession.Effect]
            do { effects = try await receive() } catch let end as StreamEnd where end == .clean { return }
            for case .received(let item) in effects {
                if !accepted.load(ordering: .relaxed) { try await noteAcceptance() }
                try await handle(item)
            }
        }
    }

    /// The hub sends nothing to those whom it has not accepted.
    private func noteAcceptance() async throws {
        accepted.store(true, ordering: .relaxed)
        if let secret = peer.pairingSecret {
            let (directory, keyID) = (directory, peer.keyID)
            _ = try await workers.run {
                try directory.update(keyID: keyID) { if $0.pairingSecret == secret { $0.pairingSecret = nil } }
            }
        }
        let now = time.nanoseconds() / 1_000_000
        states.update(record) { state in
            state.state = .connected
            state.statusMessage = ""
            state.lastHeartbeatMillis = now
            state.knownRepos = []
            state.knownPlans = []
        }
        log.info("a hub has accepted this instance", metadata: ["hub": "\(peer.instanceID)"])
    }

    private func handle(_ item: PeerItem) async throws {
        switch item {
        case .heartbeat:
            let now = time.nanoseconds() / 1_000_000
            states.update(record) { $0.lastHeartbeatMillis = now }
        case .config(let view): states.update(record) { $0.remoteConfig = view }
        case .resources(let repos, let plans):
            states.update(record) { state in
                state.merge(repos: repos, plans: plans)
            }
        case .manifestRequest: outbox.want(.manifest)
        case .operationRequest(let ids):
            guard outbox.request(ids) else {
                throw PeerSyncFailure(.tooLarge, "the hub asks for more operations than it takes")
            }
        case .resourcesRequest: outbox.want(.resources)
        case .configPush(let push): refuse(push)
        case .logRequest(let id): try await startLog(id)
        case .manifest, .operations, .logData:
            throw PeerSyncFailure(.protocolError, "an item that a hub does not send")
        }
    }

    /// Nothing of it is ever carried out: it may hold commands. (Spec: §6.2, §9.1.)
    private func refuse(_ push: WireSyncStreamItem.SyncActionSetConfig) {
        let count = push.repos.count + push.plans.count + push.reposToDelete.count + push.plansToDelete.count
        log.warning(
            "a hub tried to push settings; they were refused",
            metadata: ["hub": "\(peer.instanceID)", "elements": "\(count)"])
        states.update(record) { $0.statusMessage = "hub tried to push settings; refused" }
        // There is no answer to a push: the hub sees by the settings what became of it.
        outbox.want(.config)
    }
}

extension WirePeerState {
    /// Limit of what is kept of a peer's lists.
    private static let maxResources = 100_000

    /// What is beyond the limit is left out.
    fileprivate mutating func merge(repos: [WireRepoMetadata], plans: [WirePlanMetadata]) {
        knownRepos = Array(ResourceLists.merge(knownRepos, repos, by: \.id).prefix(Self.maxResources))
        knownPlans = Array(ResourceLists.merge(knownPlans, plans, by: \.id).prefix(Self.maxResources))
    }
}

// MARK: Writing

extension MemberSession {
    private func write() async throws {
        while let job = await outbox.next() {
            switch job {
            case .heartbeat: try await send(.heartbeat(capabilities: []))
            case .config:
                let (feed, scope) = (feed, scope)
                try await send(.config(try await workers.run { try feed.configView(for: scope) }))
            case .resources:
                let resources = feed.resources(for: scope)
                try await send(.resources(repos: resources.repos, plans: resources.plans))
            case .manifest:
                let (feed, scope) = (feed, scope)
                let listed = try await workers.run { try feed.manifest(for: scope) }
                try await send(.manifest(ids: listed.ids, counters: listed.counters))
            case .answer(let ids): try await sendOperations(ids, areNew: false)
            case .news(let created, let updated):
                try await sendOperations(created, areNew: true)
                try await sendOperations(updated, areNew: false)
            case .log(let reading): try await sendPiece(of: reading)
            case .logRefusal(let id, let reason):
                var data = WireSyncStreamItem.SyncActionReceiveLogData()
                data.logID = id
                data.errorMessage = reason
                try await send(.logData(data))
            }
        }
    }

    /// Those that the hub may see; others are passed over. (Spec: §5.7, negative test N17.)
    private func sendOperations(_ ids: [Int64], areNew: Bool) async throws {
        var rest = ids[...]
        while !rest.isEmpty {
            let batch = rest.prefix(PeerLimits.operationsPerAnswer)
            rest = rest.dropFirst(batch.count)
            let (feed, scope) = (feed, scope)
            let operations = try await workers.run { try feed.operations(Array(batch), for: scope) }
            var item: [WireOperation] = []
            var size = 0
            for operation in operations {
                let bytes = (try operation.serializedBytes() as [UInt8]).count
                if !item.isEmpty, size + bytes > Self.maxOperationBytes {
                    try await send(item, areNew: areNew)
                    item = []
                    size = 0
                }
                item.append(operation)
                size += bytes
            }
            try await send(item, areNew: areNew)
        }
    }

    private func send(_ operations: [WireOperation], areNew: Bool) async throws {
        guard !operations.isEmpty else { return }
        var event = WireOperationEvent()
        if areNew {
            event.createdOperations.operations = operations
        } else {
            event.updatedOperations.operations = operations
        }
        try await send(.operations(event))
    }
}

import BackupFormats
package import PeerSyncProtocol
import Platform
import SwiftProtobuf
import Synchronization

/// A session with a member that has proved who it is. One task reads, one writes, one keeps the time.
/// (Spec: backrest-sync §5.)
package final class HubSession: Sendable {
    /// Items that wait to be sent; a member that does not take them ends its session by it.
    static let maxQueued = 256
    /// Names that are kept of a member's repos, and of its plans.
    static let maxResources = 10_000
    /// Larger items are opened and read on a worker.
    private static let largeItem = 256 << 10
    /// Largest view of its settings that is kept of a member.
    static let maxConfigBytes = 2 << 20

    package let member: Peer
    let ending: SessionEnding
    private let stream: any PeerStream
    private let channel: SessionChannel
    private let hub: HubService
    private let record: PeerStates.Session
    private let outgoing: AsyncStream<PeerItem>
    private let queue: AsyncStream<PeerItem>.Continuation
    let logs = LogRequests()

    private struct State {
        var lastSign = ContinuousClock.now
        /// Whether the member has told its settings in this session.
        var hasConfig = false
        /// Whether the member has told its repos and plans in this session.
        var hasResources = false
    }
    private let state = Mutex(State())

    init(
        member: Peer, stream: any PeerStream, channel: SessionChannel, ending: SessionEnding, hub: HubService,
        record: PeerStates.Session
    ) {
        self.member = member
        self.stream = stream
        self.channel = channel
        self.ending = ending
        self.hub = hub
        self.record = record
        (outgoing, queue) = AsyncStream.makeStream(of: PeerItem.self, bufferingPolicy: .bufferingOldest(Self.maxQueued))
    }

    /// What both sides can do beyond the protocol, as far as the member has told.
    package var capabilities: PeerCapabilities { channel.peerCapabilities.intersection([.logs]) }

    /// Whether it may still change anything: false from the moment it has ended, or another took its place.
    var isCurrent: Bool { !ending.isOver && hub.states.isCurrent(record) }

    /// Whether the member has told its settings in this session.
    var hasConfig: Bool { state.withLock { $0.hasConfig } }

    /// Changes the member's record, as long as this is its last session.
    func update(_ body: (inout WirePeerState) -> Void) { hub.states.update(record, body) }

    /// Queues an item for the member.
    ///
    /// - Throws: ``PeerSyncFailure`` (`internalFault`) where it takes nothing, which ends the session.
    package func send(_ item: PeerItem) throws(PeerSyncFailure) {
        guard case .enqueued = queue.yield(item) else {
            let failure = PeerSyncFailure(.internalFault, "the member does not take what is sent")
            ending.set(SessionEnd(failure, isEstablished: true))
            throw failure
        }
    }

    /// Lives until all of it has ended, which may be after the session itself has: whoever waits for that waits for
    /// ``ending``.
    func run() async {
        var view = WireRemoteConfig()
        view.version = HubService.configVersion
        let first = [PeerItem.config(view), .resources(repos: [], plans: []), .heartbeat(capabilities: [])]
        await withTaskGroup(of: Void.self) { group in
            for item in first { try? send(item) }
            group.addTask { await self.endWith { try await self.read() } }
            group.addTask { await self.endWith { try await self.write() } }
            group.addTask { await self.endWith { try await self.keepTime() } }
            await group.next()
            group.cancelAll()
        }
    }

    private func endWith(_ part: () async throws -> SessionEnd) async {
        do { ending.set(try await part()) } catch { ending.set(SessionEnd(error, isEstablished: true)) }
    }

    /// Ends what waits for the session, and forgets its keys.
    func close() {
        queue.finish()
        channel.end()
        logs.end("the member's session ended")
    }

    // MARK: - The tasks

    private func write() async throws -> SessionEnd {
        for await item in outgoing { try await stream.send(channel.seal(item)) }
        return .closed
    }

    private func keepTime() async throws -> SessionEnd {
        while true {
            try await Task.sleep(for: hub.settings.heartbeat)
            if ContinuousClock.now - state.withLock({ $0.lastSign }) > hub.settings.silence { return .silent }
            try send(.heartbeat(capabilities: []))
        }
    }

    private func read() async throws -> SessionEnd {
        var bucket = ItemBucket(perSecond: hub.settings.itemsPerSecond, burst: hub.settings.itemBurst)
        while let bytes = try await stream.receive() {
            let wait = bucket.take()
            if wait > .zero { try await Task.sleep(for: wait) }
            let effects =
                bytes.count > Self.largeItem
                ? try await hub.workers.run { [channel] in try channel.receive(bytes) } : try channel.receive(bytes)
            for effect in effects {
                guard !ending.isOver else { return .closed }
                if case .received(let item) = effect { try await take(item) }
            }
            state.withLock { $0.lastSign = .now }
        }
        return .closed
    }

    // MARK: - Items

    /// The next item is read when this one has been applied.
    private func take(_ item: PeerItem) async throws {
        switch item {
        case .heartbeat: hub.states.update(record) { $0.lastHeartbeatMillis = self.hub.time.nanoseconds() / 1_000_000 }
        case .config(let view): try take(view)
        case .resources(let repos, let plans): try take(repos: repos, plans: plans)
        case .manifest(let ids, let counters):
            let wanted = try await hub.store.compare(
                ids: ids, counters: counters, of: member.keyID, while: { self.isCurrent })
            if !wanted.isEmpty { try send(.operationRequest(ids: wanted)) }
        case .operations(let event):
            _ = try await hub.store.put(event, of: member.keyID, while: { self.isCurrent })
        case .logRequest(let id):
            var answer = WireSyncStreamItem.SyncActionReceiveLogData()
            answer.logID = id
            answer.errorMessage = "a hub shows no logs of its own"
            try send(.logData(answer))
        case .logData(let data): logs.take(data)
        case .manifestRequest, .operationRequest, .configPush, .resourcesRequest:
            throw PeerSyncFailure(.protocolError, "an item that a member does not send")
        }
    }

    private func take(_ view: WireRemoteConfig) throws {
        let size = (try? view.serializedBytes() as [UInt8])?.count ?? .max
        guard size <= Self.maxConfigBytes else {
            throw PeerSyncFailure(.tooLarge, "settings of \(size) bytes; \(Self.maxConfigBytes) are kept of a member")
        }
        guard hub.states.update(record, { $0.remoteConfig = view }) else { return }
        state.withLock { $0.hasConfig = true }
        hub.pushes.saw(view, of: member.keyID)
    }

    /// The first list of a session replaces what was known, later ones add to it. (Spec: backrest-sync §5.5.)
    private func take(repos: [WireRepoMetadata], plans: [WirePlanMetadata]) throws {
        let known = hub.states.state(of: member.keyID)
        let isFirst = state.withLock { state in
            defer { state.hasResources = true }
            return !state.hasResources
        }
        let allRepos = ResourceLists.merge(isFirst ? [] : known?.knownRepos ?? [], repos, by: \.id)
        let allPlans = ResourceLists.merge(isFirst ? [] : known?.knownPlans ?? [], plans, by: \.id)
        guard allRepos.count <= Self.maxResources, allPlans.count <= Self.maxResources else {
            throw PeerSyncFailure(.tooLarge, "more than \(Self.maxResources) repos or plans of one member")
        }
        hub.states.update(record) {
            $0.knownRepos = allRepos
            $0.knownPlans = allPlans
        }
    }
}

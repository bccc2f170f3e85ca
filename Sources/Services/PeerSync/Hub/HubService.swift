package import BackupFormats
package import Logging
package import PeerSyncProtocol
package import Platform
package import StateDatabase
import Synchronization

/// The hub: serves the sessions of members, one of each. (Spec: backrest-sync §5, §9.2.)
package final class HubService: PeerHub {
    /// Of the form in which settings are told.
    static let configVersion: Int32 = 6
    /// Tokens that are over are looked for so often.
    private static let cleanInterval = Duration.seconds(3600)

    let directory: PeerDirectory
    let states: PeerStates
    let store: OperationStore
    let settings: HubSettings
    let time: TimeSource
    let tokens: PairingTokens
    let views: PeerViews
    let pushes: ConfigPushes
    let workers: WorkerPool
    private let reception: Reception
    private let delays: RefusalDelays
    private let log: Logger

    private struct State {
        var sessions: [String: HubSession] = [:]
        var isStopped = false
    }
    private let state = Mutex(State())

    /// Brings back what was last known of the members. Blocks.
    package init(
        directory: PeerDirectory, states: PeerStates, store: OperationStore, database: StateDatabase,
        settings: HubSettings = HubSettings(), workers: WorkerPool, time: TimeSource, log: Logger
    ) throws {
        self.directory = directory
        self.states = states
        self.store = store
        self.settings = settings
        self.time = time
        self.workers = workers
        self.log = log
        tokens = PairingTokens(database: database)
        views = PeerViews(database: database, states: states)
        pushes = try ConfigPushes(database: database, settings: settings, time: time, log: log)
        reception = Reception(
            directory: directory, states: states, tokens: tokens, settings: settings, workers: workers, time: time,
            log: log)
        delays = RefusalDelays(unit: settings.refusalDelay)
        try views.restore(directory.peers.filter { $0.role == .member })
        directory.observe { [weak self] change in self?.follow(change) }
    }

    /// Keeps the state database in step, until the task is cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: self.settings.saveInterval)
                    await self.save(self.sessions.map(\.member.keyID))
                }
            }
            group.addTask {
                do { try await self.store.sweep() } catch {
                    self.log.warning("operations of removed peers not swept", metadata: ["reason": "\(error)"])
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    do {
                        try await self.workers.run { try self.tokens.clean(now: self.time.seconds) }
                    } catch { self.log.warning("pairing tokens not cleaned", metadata: ["reason": "\(error)"]) }
                    try? await Task.sleep(for: Self.cleanInterval)
                }
            }
        }
        // In a task of its own: this one is cancelled.
        await Task { await save(directory.peers.filter { $0.role == .member }.map(\.keyID)) }.value
    }

    /// Ends all sessions, in order, and takes no more.
    package func stop() {
        let sessions = state.withLock { state in
            state.isStopped = true
            return Array(state.sessions.values)
        }
        for session in sessions { session.ending.set(.stopped) }
    }

    /// The live session of a member.
    package func session(of keyID: String) -> HubSession? { state.withLock { $0.sessions[keyID] } }

    /// Members that are connected.
    package var sessions: [HubSession] { state.withLock { Array($0.sessions.values) } }

    // MARK: - Serving

    package func serve(_ stream: any PeerStream) async -> StreamEnd {
        let ending = SessionEnding()
        let work = Task { await live(stream, ending) }
        let end = await withTaskCancellationHandler {
            await ending.wait()
        } onCancel: {
            ending.set(.lost)
        }
        work.cancel()
        return end.end
    }

    /// One session from its first item on. It may outlast the session by what a reader or writer waits for.
    private func live(_ stream: any PeerStream, _ ending: SessionEnding) async {
        let member: Peer
        let channel: SessionChannel
        do {
            (member, channel) = try await reception.meet(stream, ending)
        } catch {
            await refuse(error, stream, ending)
            return
        }
        guard let session = admit(member, stream, channel, ending) else { return }
        log.info("peer connected", metadata: ["peer": "\(member.instanceID)", "from": "\(stream.peerAddress)"])
        let running = Task { await session.run() }
        let end = await ending.wait()
        running.cancel()
        leave(session, end)
        // In a task of its own: this one is cancelled with the session.
        Task { await save([member.keyID]) }
    }

    private func refuse(_ error: any Error, _ stream: any PeerStream, _ ending: SessionEnding) async {
        // What ended it from the outside, a time that is over, lets the stream throw too.
        let end = ending.isOver ? await ending.wait() : SessionEnd(error, isEstablished: false)
        if end.state == .errorAuth {
            log.warning("peer refused", metadata: ["from": "\(stream.peerAddress)", "reason": "\(end.reason)"])
            try? await Task.sleep(for: delays.delay(stream.peerAddress))
        } else {
            log.info("peer turned away", metadata: ["from": "\(stream.peerAddress)", "reason": "\(end.reason)"])
        }
        ending.set(end)
    }

    /// Enters a session as the one of its member; the one before it ends.
    ///
    /// - Returns: Nil where the member is none any more, or this server stops.
    private func admit(
        _ member: Peer, _ stream: any PeerStream, _ channel: SessionChannel, _ ending: SessionEnding
    ) -> HubSession? {
        let keyID = member.keyID
        let (session, displaced, isStopped) = state.withLock { state in
            // Both orders, of the sessions and of their rights to speak, are the same.
            let session = HubSession(
                member: member, stream: stream, channel: channel, ending: ending, hub: self,
                record: states.begin(keyID))
            guard !state.isStopped else { return (session, nil as HubSession?, true) }
            return (session, state.sessions.updateValue(session, forKey: keyID), false)
        }
        displaced?.ending.set(.displaced)
        // From here on a change of the entry ends the session; one before is seen now.
        guard !isStopped, directory.peer(keyID: keyID) == member else {
            ending.set(isStopped ? .stopped : .revoked)
            if !isStopped { leave(session, .revoked) }
            return nil
        }
        stream.trust()
        channel.accept()
        session.update {
            $0.peerInstanceID = member.instanceID
            $0.state = .connected
            $0.statusMessage = ""
            $0.lastHeartbeatMillis = time.nanoseconds() / 1_000_000
        }
        return session
    }

    private func leave(_ session: HubSession, _ end: SessionEnd) {
        let keyID = session.member.keyID
        session.close()
        state.withLock { state in
            if state.sessions[keyID] === session { state.sessions[keyID] = nil }
        }
        session.update {
            $0.state = end.state
            $0.statusMessage = end.reason
        }
        pushes.sessionEnded(of: keyID)
        log.log(
            level: end.state == .disconnected ? .info : .warning, "peer left",
            metadata: ["peer": "\(session.member.instanceID)", "reason": "\(end.reason)"])
    }

    private func save(_ keyIDs: [String]) async {
        do { try await views.save(keyIDs) } catch {
            log.warning("states of peers not stored", metadata: ["reason": "\(error)"])
        }
    }

    /// Called by whoever changes the directory; does not block.
    private func follow(_ change: PeerDirectory.Change) {
        switch change {
        case .added: return
        case .changed(let old, _): session(of: old.keyID)?.ending.set(.revoked)
        case .removed(let peer):
            session(of: peer.keyID)?.ending.set(.revoked)
            states.forget(peer.keyID)
            pushes.forget(peer.keyID)
        }
    }
}

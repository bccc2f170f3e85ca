package import BackupFormats
package import Logging
import PeerSyncProtocol
package import Platform
import Synchronization

/// Keeps a session with each hub that this instance reports to. (Spec: backrest-sync §5.2, §5.9, §5.11.)
package final class MemberService: Sendable {
    private let directory: PeerDirectory
    private let states: PeerStates
    private let dialer: any PeerDialer
    private let feed: MemberFeed
    private let settings: MemberSettings
    private let workers: WorkerPool
    private let time: TimeSource
    private let log: Logger

    package init(
        directory: PeerDirectory, states: PeerStates, dialer: any PeerDialer, feed: MemberFeed,
        settings: MemberSettings = MemberSettings(), workers: WorkerPool, time: TimeSource, log: Logger
    ) {
        self.directory = directory
        self.states = states
        self.dialer = dialer
        self.feed = feed
        self.settings = settings
        self.workers = workers
        self.time = time
        self.log = log
    }

    /// Works until the task is cancelled; returns when all sessions have ended.
    package func run() async {
        let (changes, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        directory.observe { _ in signal.yield() }
        signal.yield()
        await feed.prepare()
        // Ended below, when this call is cancelled.
        let feeding = Task { [feed] in await feed.run() }
        var hubs: [String: (peer: Peer, task: Task<Void, Never>)] = [:]
        for await _ in changes {
            let wanted = directory.peers.filter { $0.role == .hub && $0.address != nil }
            for (keyID, hub) in hubs where !wanted.contains(where: { $0.keyID == keyID }) {
                hub.task.cancel()
                states.forget(keyID)
                hubs[keyID] = nil
            }
            for peer in wanted {
                if let known = hubs[peer.keyID] {
                    hubs[peer.keyID]?.peer = peer
                    guard peer.needsNewSession(after: known.peer) else { continue }
                    known.task.cancel()
                }
                // Ended here and below.
                hubs[peer.keyID] = (peer, Task { await self.keepSession(with: peer.keyID) })
            }
            feed.setNeeded(!hubs.isEmpty)
        }
        feeding.cancel()
        for hub in hubs.values { hub.task.cancel() }
        for hub in hubs.values { await hub.task.value }
        await feeding.value
    }

    private func keepSession(with keyID: String) async {
        var backoff = Backoff()
        while !Task.isCancelled, let peer = directory.peer(keyID: keyID), peer.role == .hub {
            let record = states.begin(keyID)
            states.update(record) { state in
                state.peerInstanceID = peer.instanceID
                state.state = .pending
                state.statusMessage = ""
            }
            let start = ContinuousClock.now
            let outcome = await attempt(peer, record)
            guard !Task.isCancelled else { break }
            let duration = (ContinuousClock.now - start).inSeconds
            if outcome.isRestart { backoff.reset() }
            let wait =
                outcome.isRestart
                ? 1
                : backoff.wait(
                    after: duration, wasRefusedAfterPairing: outcome.isRefusal && peer.pairingSecret != nil,
                    random: .random(in: 0...1))
            let next = BackupTime.text(time.seconds + Int64(wait.rounded(.up)))
            states.update(record) { state in
                state.state = outcome.state
                state.statusMessage = "\(outcome.message); next attempt at \(next)"
            }
            log.log(
                level: outcome.isRestart ? .info : .notice, "no session with a hub",
                metadata: [
                    "hub": "\(peer.instanceID)", "reason": "\(outcome.message)",
                    "detail": "\(outcome.detail)", "seconds": "\(Int(wait.rounded(.up)))",
                ])
            if await self.wait(wait) { backoff.reset() }
        }
    }

    private func attempt(_ peer: Peer, _ record: PeerStates.Session) async -> SessionOutcome {
        guard let address = peer.address else { return SessionOutcome(dialFailure: CancellationError()) }
        let stream: any PeerStream
        do { stream = try await dialer.dial(address) } catch { return SessionOutcome(dialFailure: error) }
        let session: MemberSession
        do {
            session = try MemberSession(
                with: peer, over: stream, as: record, directory: directory, states: states, feed: feed,
                settings: settings, workers: workers, time: time, log: log)
        } catch {
            stream.close()
            return SessionOutcome(end: error, of: peer, ownKeyID: directory.identity.keyID, wasAccepted: false)
        }
        do {
            try await session.run()
            return SessionOutcome(
                end: StreamEnd.clean, of: peer, ownKeyID: directory.identity.keyID, wasAccepted: session.wasAccepted)
        } catch {
            return SessionOutcome(
                end: error, of: peer, ownKeyID: directory.identity.keyID, wasAccepted: session.wasAccepted)
        }
    }

    /// Waits, less long where the clock jumps.
    ///
    /// - Returns: Whether it has jumped.
    private func wait(_ seconds: Double) async -> Bool {
        var clock = ClockWatch(time, tolerance: settings.clockTolerance)
        let end = ContinuousClock.now + .seconds(seconds)
        var rest = seconds
        while rest > 0 {
            do { try await settings.pause(.seconds(min(rest, Self.longestPause))) } catch { return false }
            if clock.hasJumped() { return true }
            // Whoever gave another way to wait decides how long a piece takes.
            rest = min((end - .now).inSeconds, rest - Self.longestPause)
        }
        return false
    }

    private static let longestPause: Double = 10
}

extension Peer {
    /// Whether a session under the old settings has to end. That a secret is gone, because the hub has accepted us, is
    /// no reason.
    fileprivate func needsNewSession(after old: Peer) -> Bool {
        added != old.added || address != old.address || grants != old.grants
            || pairingSecret != nil && pairingSecret != old.pairingSecret
    }
}

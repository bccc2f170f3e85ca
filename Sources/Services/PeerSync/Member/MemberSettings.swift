/// Times that a member keeps; tests take others.
package struct MemberSettings: Sendable {
    /// For the hub's part of the key exchange, and then for its handshake.
    package var patience = Duration.seconds(15)
    package var heartbeat = PeerLimits.heartbeat
    package var silence = PeerLimits.silence
    /// How often time is looked at, and logs that grow.
    package var tick = Duration.seconds(1)
    /// After so long a manifest tells the hub what is not to be kept any more.
    package var manifestAge = Duration.seconds(24 * 3600)
    /// How far wall clock and machine clock may part between two looks.
    package var clockTolerance: Double = 30
    /// Seconds between two looks at all snapshots of a datastore, where nothing else calls for one.
    package var scanInterval: Double = 120
    /// Whether the feed looks at tasks and snapshots by itself.
    package var isLooking = true
    /// How a member waits until its next attempt.
    package var pause: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }

    package init() {}
}

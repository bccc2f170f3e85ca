/// The bounds of a hub's sessions; tests take shorter ones.
package struct HubSettings: Sendable {
    /// For the key exchange, and again for the handshake. (Spec: backrest-sync §3.4.)
    package var patience = Duration.seconds(15)
    package var heartbeat = PeerLimits.heartbeat
    package var silence = PeerLimits.silence
    package var refusalDelay = PeerLimits.refusalDelay
    /// What is known of members is stored so often, and when their sessions end.
    package var saveInterval = Duration.seconds(300)
    /// Items of one member that are taken in a second for long, and at once. Above that it is not read from.
    package var itemsPerSecond = 50.0
    package var itemBurst = 500.0
    /// After this time without a sign nobody knows what became of a push.
    package var pushPatience = Duration.seconds(60)
    /// A session that ends so soon after a push, and does not come back, was ended over it.
    package var pushReturn = Duration.seconds(10)

    package init() {}
}

package import PeerSyncProtocol

/// What the endpoint gives its streams to.
package protocol PeerHub: Sendable {
    /// Serves one session of a member from its first item to its end.
    ///
    /// - Returns: What the stream is to be ended with; the caller sends it where the stream is still open.
    func serve(_ stream: any PeerStream) async -> StreamEnd
}

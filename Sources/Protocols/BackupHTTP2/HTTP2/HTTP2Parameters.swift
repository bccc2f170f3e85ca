import NIOCore
package import NIOHTTP2

/// What both ends announce and allow. (Spec: protocol A.6; decision 10.)
package enum HTTP2Parameters {
    /// Flow-control window of each stream and of the whole connection. The library's default for the
    /// connection, 65,535, would halve the speed on loopback and ruin it on a real link.
    package static let windowBytes = 32 * 1024 * 1024
    package static let frameBytes = 4 * 1024 * 1024
    package static let headerListBytes = 16 * 1024
    /// Streams of one connection that are served, though fewer are announced; further ones are refused. The original
    /// knows no limit.
    package static let servedStreams = 1000
    /// Streams at which the library ends the connection.
    private static let streamLimit = 2000
    /// Bytes handed to HTTP/2 at once by one stream whose body is sent.
    package static let sendPieceBytes = 256 * 1024

    /// Window with which the streams of strangers begin. It grows to ``windowBytes`` when the body is one that is gathered,
    /// and to ``streamedWindowBytes`` when somebody reads it.
    static let strangerWindowBytes = 64 * 1024
    /// Bytes of a streamed body that may wait for its reader.
    static let streamedWindowBytes = 256 * 1024
    /// Window of a connection that carries one stream.
    static let duplexConnectionWindowBytes = 4 * streamedWindowBytes

    /// Who is on the other side, which decides how much misbehaviour is borne.
    package enum Peer: Sendable {
        /// Anybody: the library's limits hold.
        case stranger
        /// Has shown credentials: many resets, refused calls and small frames are its own business.
        case authenticated
    }

    /// Resets, stream errors and control frames that an authenticated peer may cause in 30 seconds.
    private static let authenticatedRate = 20_000
    private static let authenticatedGlitches = 1_000_000
    private static let emptyFrames = 1_000

    package static func serverHandler(for peer: Peer) -> NIOHTTP2Handler {
        let settings: HTTP2Settings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: streamLimit),
            HTTP2Setting(parameter: .initialWindowSize, value: initialWindow(of: peer)),
            HTTP2Setting(parameter: .maxFrameSize, value: frameBytes),
            HTTP2Setting(parameter: .maxHeaderListSize, value: headerListBytes),
        ]
        return makeHandler(.server, settings: settings, peer: peer)
    }

    static func initialWindow(of peer: Peer) -> Int { peer == .stranger ? strangerWindowBytes : windowBytes }

    /// A client takes no pushes and has no streams opened towards it.
    package static func clientHandler() -> NIOHTTP2Handler {
        let settings: HTTP2Settings = [
            HTTP2Setting(parameter: .enablePush, value: 0),
            HTTP2Setting(parameter: .initialWindowSize, value: windowBytes),
            HTTP2Setting(parameter: .maxFrameSize, value: frameBytes),
            HTTP2Setting(parameter: .maxHeaderListSize, value: headerListBytes),
        ]
        return makeHandler(.client, settings: settings, peer: .authenticated)
    }

    /// For a connection with one stream that flows in both directions; the server is a stranger.
    static func duplexClientHandler() -> NIOHTTP2Handler {
        let settings: HTTP2Settings = [
            HTTP2Setting(parameter: .enablePush, value: 0),
            HTTP2Setting(parameter: .initialWindowSize, value: streamedWindowBytes),
            HTTP2Setting(parameter: .maxHeaderListSize, value: headerListBytes),
        ]
        return makeHandler(.client, settings: settings, peer: .stranger)
    }

    private static func makeHandler(
        _ mode: NIOHTTP2Handler.ParserMode, settings: HTTP2Settings, peer: Peer
    ) -> NIOHTTP2Handler {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = settings
        // The library counts them over the life of a stream, and proxies send some.
        connection.maximumSequentialEmptyDataFrames = emptyFrames
        var stream = NIOHTTP2Handler.StreamConfiguration()
        if peer == .authenticated {
            connection.maximumConnectionGlitches = authenticatedGlitches
            connection.controlFrameRateLimit.maximumCount = authenticatedRate
            stream.streamResetFrameRateLimit.maximumCount = authenticatedRate
            stream.streamErrorRateLimit.maximumCount = authenticatedRate
        }
        return NIOHTTP2Handler(mode: mode, connectionConfiguration: connection, streamConfiguration: stream)
    }
}

/// Keeps the receive windows at their full size, ``HTTP2Parameters/windowBytes`` for most: the library's frame-level handler
/// reports them and leaves the updates to us.
enum HTTP2Windows {
    /// By how much to raise a window that stands at `size`; nil while more than half of it is left.
    static func increment(at size: Int, to full: Int = HTTP2Parameters.windowBytes) -> Int? {
        size <= full / 2 ? full - size : nil
    }

    /// The frame that raises the connection's window from its start of 65,535.
    static func opening(_ bytes: Int = HTTP2Parameters.windowBytes) -> HTTP2Frame {
        HTTP2Frame(streamID: .rootStream, payload: .windowUpdate(windowSizeIncrement: bytes - 65_535))
    }
}

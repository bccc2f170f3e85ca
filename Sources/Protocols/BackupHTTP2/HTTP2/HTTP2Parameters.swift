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

    static var settings: HTTP2Settings {
        [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: streamLimit),
            HTTP2Setting(parameter: .initialWindowSize, value: windowBytes),
            HTTP2Setting(parameter: .maxFrameSize, value: frameBytes),
            HTTP2Setting(parameter: .maxHeaderListSize, value: headerListBytes),
        ]
    }

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
    private static let authenticatedEmptyFrames = 1_000

    package static func serverHandler(for peer: Peer) -> NIOHTTP2Handler {
        makeHandler(.server, settings: settings, peer: peer)
    }

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

    private static func makeHandler(
        _ mode: NIOHTTP2Handler.ParserMode, settings: HTTP2Settings, peer: Peer
    ) -> NIOHTTP2Handler {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = settings
        var stream = NIOHTTP2Handler.StreamConfiguration()
        if peer == .authenticated {
            connection.maximumSequentialEmptyDataFrames = authenticatedEmptyFrames
            connection.maximumConnectionGlitches = authenticatedGlitches
            connection.controlFrameRateLimit.maximumCount = authenticatedRate
            stream.streamResetFrameRateLimit.maximumCount = authenticatedRate
            stream.streamErrorRateLimit.maximumCount = authenticatedRate
        }
        return NIOHTTP2Handler(mode: mode, connectionConfiguration: connection, streamConfiguration: stream)
    }
}

/// Keeps the receive windows at ``HTTP2Parameters/windowBytes``: the library's frame-level handler
/// reports them and leaves the updates to us.
enum HTTP2Windows {
    /// By how much to raise a window that stands at `size`; nil while more than half of it is left.
    static func increment(at size: Int) -> Int? {
        size <= HTTP2Parameters.windowBytes / 2 ? HTTP2Parameters.windowBytes - size : nil
    }

    /// The frame that raises the connection's window from its start of 65,535.
    static var opening: HTTP2Frame {
        HTTP2Frame(
            streamID: .rootStream, payload: .windowUpdate(windowSizeIncrement: HTTP2Parameters.windowBytes - 65_535))
    }
}

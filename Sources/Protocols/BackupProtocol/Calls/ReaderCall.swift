package import BackupFormats

/// The calls of the reader protocol, with their parameters checked; all by `GET`. (Spec: protocol B.2.)
package enum ReaderCall: Sendable, Equatable {
    /// `/`
    case directory
    /// `/download`
    case download(name: String)
    /// `/chunk`
    case chunk(ChunkDigest)
    /// `/speedtest`
    case speedtest

    /// The names that `GET /` lists.
    package static let directoryNames = ["chunk", "download", "speedtest"]

    /// Length of the answer to `/speedtest`, all bytes 0x41.
    package static let speedtestBytes = 1024 * 1024

    private static let downloadSchema = ParameterSchema([.required("file-name", .fileName)])
    private static let chunkSchema = ParameterSchema([.required("digest", .digest)])

    /// Reads a call.
    ///
    /// - Returns: nil where nothing answers to this method and path.
    package init?(_ head: BackupRequestHead, body: [UInt8]) throws(ParameterFailure) {
        guard head.method == "GET" else { return nil }
        switch head.path {
        case "/":
            _ = try ParameterSchema.none.values(
                of: ParameterSource(query: head.query, contentType: head.contentType, body: body))
            self = .directory
        case "/download":
            let values = try Self.downloadSchema.values(of: ParameterSource(query: head.query))
            self = .download(name: try values.string("file-name"))
        case "/chunk":
            let values = try Self.chunkSchema.values(of: ParameterSource(query: head.query))
            self = .chunk(try values.digest("digest"))
        case "/speedtest":
            _ = try ParameterSchema.none.values(of: ParameterSource(query: head.query))
            self = .speedtest
        default: return nil
        }
    }
}

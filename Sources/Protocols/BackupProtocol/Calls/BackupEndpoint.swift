package import BackupFormats

/// The places of the backup protocol: method, path, parameters. (Spec: protocol B.1.)
package enum BackupEndpoint: String, CaseIterable, Sendable {
    case directory = "GET /"
    case uploadBlob = "POST /blob"
    case uploadDynamicChunk = "POST /dynamic_chunk"
    case closeDynamic = "POST /dynamic_close"
    case openDynamic = "POST /dynamic_index"
    case appendDynamic = "PUT /dynamic_index"
    case finish = "POST /finish"
    case uploadFixedChunk = "POST /fixed_chunk"
    case closeFixed = "POST /fixed_close"
    case openFixed = "POST /fixed_index"
    case appendFixed = "PUT /fixed_index"
    case previous = "GET /previous"
    case previousBackupTime = "GET /previous_backup_time"
    case speedtest = "POST /speedtest"

    package init?(_ head: BackupRequestHead) {
        self.init(rawValue: "\(head.method) \(head.path)")
    }

    /// The names that `GET /` lists.
    package static let directoryNames = [
        "blob", "dynamic_chunk", "dynamic_close", "dynamic_index", "finish", "fixed_chunk", "fixed_close",
        "fixed_index",
        "previous", "previous_backup_time", "speedtest",
    ]

    /// Whether parameters stand in the query only and the body is data.
    package var hasDataBody: Bool {
        switch self {
        case .uploadBlob, .uploadDynamicChunk, .uploadFixedChunk, .previous, .speedtest: true
        case .directory, .closeDynamic, .openDynamic, .appendDynamic, .finish, .closeFixed, .openFixed, .appendFixed,
            .previousBackupTime:
            false
        }
    }

    package var schema: ParameterSchema {
        switch self {
        case .directory, .finish, .previousBackupTime, .speedtest: .none
        case .uploadBlob: Self.blobSchema
        case .uploadDynamicChunk, .uploadFixedChunk: Self.chunkSchema
        case .closeDynamic: Self.closeDynamicSchema
        case .closeFixed: Self.closeFixedSchema
        case .openDynamic: Self.openDynamicSchema
        case .openFixed: Self.openFixedSchema
        case .appendDynamic, .appendFixed: Self.appendSchema
        case .previous: Self.previousSchema
        }
    }

    /// Smallest header of a blob; a chunk has at least one byte more.
    private static let blobHeaderBytes: Int64 = 12

    private static let blobSchema = ParameterSchema([
        .required("file-name", .fileName),
        .required("encoded-size", .integer(blobHeaderBytes...Int64(SessionLimits.blobBytes))),
    ])
    private static let chunkSchema = ParameterSchema([
        .required("wid", .writerID), .required("digest", .digest),
        .required("size", .integer(1...Int64(SessionLimits.chunkBytes))),
        .required("encoded-size", .integer(blobHeaderBytes + 1...Int64(SessionLimits.blobBytes))),
    ])
    private static let closeDynamicSchema = ParameterSchema([
        .required("wid", .writerID), .required("chunk-count", .integer(1...Int64.max)),
        .required("size", .integer(1...Int64.max)), .required("csum", .text),
    ])
    private static let closeFixedSchema = ParameterSchema([
        .required("wid", .writerID), .required("chunk-count", .count), .required("size", .count),
        .required("csum", .text),
    ])
    private static let openDynamicSchema = ParameterSchema([.required("archive-name", .fileName)])
    private static let openFixedSchema = ParameterSchema([
        .required("archive-name", .fileName), .required("size", .integer(1...Int64.max)),
        .optional("reuse-csum", .text),
    ])
    private static let appendSchema = ParameterSchema([
        .required("wid", .writerID), .required("digest-list", .array(of: .digest)),
        .required("offset-list", .array(of: .count)),
    ])
    private static let previousSchema = ParameterSchema([.required("archive-name", .fileName)])

    /// Reads the parameters of a call to this place.
    ///
    /// - Parameter body: Empty, and not looked at, where ``hasDataBody`` is true.
    package func call(_ head: BackupRequestHead, body: [UInt8]) throws(ParameterFailure) -> BackupCall {
        let source =
            hasDataBody
            ? ParameterSource(query: head.query)
            : try ParameterSource(query: head.query, contentType: head.contentType, body: body)
        let values = try schema.values(of: source)
        switch self {
        case .directory: return .directory
        case .finish: return .finish
        case .previousBackupTime: return .previousBackupTime
        case .speedtest: return .speedtest
        case .uploadBlob:
            return .uploadBlob(
                name: try values.string("file-name"), encodedSize: Int(try values.integer("encoded-size")))
        case .uploadDynamicChunk: return .uploadChunk(.dynamic, try Self.upload(values))
        case .uploadFixedChunk: return .uploadChunk(.fixed, try Self.upload(values))
        case .closeDynamic: return .close(.dynamic, try Self.close(values))
        case .closeFixed: return .close(.fixed, try Self.close(values))
        case .openDynamic: return .openDynamicIndex(name: try values.string("archive-name"))
        case .openFixed:
            return .openFixedIndex(
                name: try values.string("archive-name"), size: UInt64(try values.integer("size")),
                reuse: values.stringIfPresent("reuse-csum"))
        case .appendDynamic: return .append(.dynamic, try Self.append(values))
        case .appendFixed: return .append(.fixed, try Self.append(values))
        case .previous: return .previous(name: try values.string("archive-name"))
        }
    }

    private static func upload(_ values: ParameterValues) throws(ParameterFailure) -> ChunkUpload {
        ChunkUpload(
            writer: Int(try values.integer("wid")), digest: try values.digest("digest"),
            size: Int(try values.integer("size")), encodedSize: Int(try values.integer("encoded-size")))
    }

    private static func append(_ values: ParameterValues) throws(ParameterFailure) -> ChunkAppend {
        ChunkAppend(
            writer: Int(try values.integer("wid")),
            digests: values.strings("digest-list").compactMap { ChunkDigest(parsing: $0) },
            offsets: values.integers("offset-list").map { UInt64($0) })
    }

    private static func close(_ values: ParameterValues) throws(ParameterFailure) -> IndexClose {
        IndexClose(
            writer: Int(try values.integer("wid")), chunkCount: UInt64(try values.integer("chunk-count")),
            size: UInt64(try values.integer("size")), checksum: try values.string("csum"))
    }
}

extension ParameterValues {
    package func digest(_ name: String) throws(ParameterFailure) -> ChunkDigest {
        guard let digest = ChunkDigest(parsing: try string(name)) else {
            throw ParameterFailure(name: name, reason: "value does not match the regex pattern")
        }
        return digest
    }
}

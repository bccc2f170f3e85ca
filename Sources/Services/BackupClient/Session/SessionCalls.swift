import BackupFormats
package import BackupProtocol

/// The calls of a session, as functions: builds requests, reads answers, turns refusals into failures.
///
/// Everything goes into the query except appends, which are JSON, as the stock client does it. (Spec: protocol A.6, C.1.)
package struct SessionCalls: Sendable {
    /// Largest JSON answer that is read.
    static let answerLimit = 1 << 20
    /// Largest index file that is read: 2^23 entries, 32 TiB of chunks of 4 MiB.
    package static let indexLimit = 4096 + 40 << 23

    package let transport: any BackupTransport

    package init(transport: any BackupTransport) {
        self.transport = transport
    }

    /// A call whose answer is `{"data": …}`.
    ///
    /// - Throws: ``BackupFailure`` whose summary says what was tried, with the server's text as cause.
    @discardableResult
    func call(
        _ method: String, _ path: String, _ parameters: [(name: String, value: String)] = [], body: [UInt8] = [],
        contentType: String? = nil, trying what: @autoclosure () -> String
    ) async throws -> JSONValue {
        try await answer(method, path, parameters, body: body, contentType: contentType, trying: what()).data
    }

    /// The whole answer, and its member `data`.
    private func answer(
        _ method: String, _ path: String, _ parameters: [(name: String, value: String)], body: [UInt8],
        contentType: String?, trying what: @autoclosure () -> String
    ) async throws -> (whole: JSONValue, data: JSONValue) {
        let query = FormText.encode(parameters)
        let head = BackupRequestHead(method: method, path: path, query: query, contentType: contentType)
        let response = try await send(BackupRequest(head: head, body: body), trying: what())
        if let failure = await response.failure() {
            throw BackupFailure(failure.kind, what(), hints: failure.hints, cause: failure)
        }
        let bytes = try await response.collect(limit: Self.answerLimit)
        guard !bytes.isEmpty else { return (.null, .null) }
        do {
            let whole = try JSONValue(parsing: bytes)
            guard let data = whole["data"] else {
                throw FormatError.invalid("there is no member `data`", offset: 0)
            }
            return (whole, data)
        } catch {
            throw BackupFailure(.corruptData, "\(what()): the answer is not what the protocol says", cause: error)
        }
    }

    /// A call whose answer is a raw file or chunk.
    func fetch(
        _ path: String, _ parameters: [(name: String, value: String)], limit: Int,
        trying what: @autoclosure () -> String
    ) async throws -> [UInt8] {
        let head = BackupRequestHead(method: "GET", path: path, query: FormText.encode(parameters))
        let response = try await send(BackupRequest(head: head), trying: what())
        if let failure = await response.failure() {
            throw BackupFailure(failure.kind, what(), hints: failure.hints, cause: failure)
        }
        return try await response.collect(limit: limit)
    }

    private func send(_ request: BackupRequest, trying what: @autoclosure () -> String) async throws -> BackupResponse {
        do {
            return try await transport.send(request)
        } catch let failure as BackupFailure where failure.kind == .unavailable {
            throw BackupFailure(
                .unavailable, what(), hints: ["Start the command again when the server can be reached."], cause: failure
            )
        }
    }
}

// MARK: - Backup sessions

extension SessionCalls {
    /// What kind of index a writer makes.
    package enum IndexKind: String, Sendable {
        case dynamic, fixed
    }

    func previousBackupTime() async throws -> Int64? {
        try await call("GET", "/previous_backup_time", trying: "The time of the previous snapshot cannot be read")
            .intValue
    }

    /// A file of the previous snapshot. For an index, the server then knows its chunks.
    func previous(_ archive: ArchiveName, limit: Int) async throws -> [UInt8] {
        try await fetch(
            "/previous", [("archive-name", archive.name)], limit: limit,
            trying: "\(archive) of the previous snapshot cannot be read")
    }

    /// Opens an index; `size` is the image's, for a fixed one, `reusing` the checksum of the previous snapshot's index
    /// whose entries are copied.
    func makeIndex(_ archive: ArchiveName, kind: IndexKind, size: UInt64?, reusing: ChunkDigest? = nil) async throws
        -> Int
    {
        var parameters = [("archive-name", archive.name)]
        if let reusing { parameters.append(("reuse-csum", reusing.description)) }
        if let size { parameters.append(("size", String(size))) }
        let answer = try await call(
            "POST", "/\(kind.rawValue)_index", parameters, trying: "The archive \(archive) cannot be begun")
        guard let writer = answer.intValue, (1...Int64(SessionLimits.writers)).contains(writer) else {
            throw BackupFailure(.corruptData, "The server gave no usable writer id for \(archive)")
        }
        return Int(writer)
    }

    /// - Returns: Whether the server had the chunk; false from servers that do not tell.
    func uploadChunk(
        writer: Int, kind: IndexKind, digest: ChunkDigest, size: Int, blob: [UInt8], of archive: ArchiveName
    ) async throws -> Bool {
        let answer = try await answer(
            "POST", "/\(kind.rawValue)_chunk",
            [
                ("wid", String(writer)), ("digest", digest.description), ("size", String(size)),
                ("encoded-size", String(blob.count)),
            ], body: blob, contentType: BackupResponse.octetStream,
            trying: "Chunk \(digest) of \(archive) cannot be uploaded")
        return answer.whole["duplicate"]?.boolValue ?? false
    }

    func append(
        writer: Int, kind: IndexKind, _ entries: [(digest: ChunkDigest, offset: UInt64)], to archive: ArchiveName
    ) async throws {
        let body: JSONValue = [
            "wid": .integer(writer),
            "digest-list": .array(entries.map { .string($0.digest.description) }),
            "offset-list": .array(entries.map { .integer($0.offset) }),
        ]
        try await call(
            "PUT", "/\(kind.rawValue)_index", body: Array(body.compactText.utf8), contentType: "application/json",
            trying: "\(entries.count) chunks from offset \(entries.first?.offset ?? 0) cannot be appended to \(archive)"
        )
    }

    func closeIndex(
        writer: Int, kind: IndexKind, count: Int, size: UInt64, checksum: ChunkDigest, of archive: ArchiveName
    ) async throws {
        try await call(
            "POST", "/\(kind.rawValue)_close",
            [
                ("wid", String(writer)), ("chunk-count", String(count)), ("size", String(size)),
                ("csum", checksum.description),
            ], trying: "The archive \(archive) cannot be closed")
    }

    func uploadBlob(_ archive: ArchiveName, _ blob: [UInt8]) async throws {
        try await call(
            "POST", "/blob", [("file-name", archive.name), ("encoded-size", String(blob.count))], body: blob,
            contentType: BackupResponse.octetStream, trying: "The blob \(archive) cannot be uploaded")
    }

    func finish() async throws {
        try await call("POST", "/finish", trying: "The server does not finish the snapshot")
    }
}

// MARK: - Reader sessions

extension SessionCalls {
    /// A file of the snapshot. For an index, its chunks may then be read.
    func download(_ archive: ArchiveName, limit: Int) async throws -> [UInt8] {
        try await fetch("/download", [("file-name", archive.name)], limit: limit, trying: "\(archive) cannot be read")
    }

    func chunk(_ digest: ChunkDigest, of archive: ArchiveName) async throws -> [UInt8] {
        try await fetch(
            "/chunk", [("digest", digest.description)], limit: SessionLimits.blobBytes,
            trying: "Chunk \(digest) of \(archive) cannot be read")
    }
}

import BackupFormats

extension BackupRequest {
    private static let form = "application/x-www-form-urlencoded"

    /// The request of a call, in the form in which the original client sends it: parameters in the query in the order
    /// of their names, appends as a JSON body.
    ///
    /// - Parameter data: The blob of a chunk or blob upload, or the bytes of a speed test.
    package init(_ call: BackupCall, data: [UInt8] = []) {
        func bare(_ method: String, _ path: String, _ pairs: [(name: String, value: String)] = []) -> BackupRequest {
            BackupRequest(
                head: BackupRequestHead(
                    method: method, path: path, query: FormText.encode(pairs), contentType: Self.form))
        }
        func withData(_ path: String, _ pairs: [(name: String, value: String)]) -> BackupRequest {
            BackupRequest(
                head: BackupRequestHead(
                    method: "POST", path: path, query: FormText.encode(pairs),
                    contentType: BackupResponse.octetStream), body: data)
        }
        switch call {
        case .directory: self = bare("GET", "/")
        case .openDynamicIndex(let name): self = bare("POST", "/dynamic_index", [("archive-name", name)])
        case .openFixedIndex(let name, let size, let reuse):
            let pairs = [("archive-name", name)] + (reuse.map { [("reuse-csum", $0)] } ?? []) + [("size", "\(size)")]
            self = bare("POST", "/fixed_index", pairs.map { (name: $0.0, value: $0.1) })
        case .uploadChunk(let kind, let upload):
            self = withData(
                "/\(kind.rawValue)_chunk",
                [
                    ("digest", "\(upload.digest)"), ("encoded-size", "\(upload.encodedSize)"),
                    ("size", "\(upload.size)"),
                    ("wid", "\(upload.writer)"),
                ])
        case .append(let kind, let append):
            let body: JSONValue = [
                "digest-list": .array(append.digests.map { .string($0.description) }),
                "offset-list": .array(append.offsets.map { .integer($0) }), "wid": .integer(append.writer),
            ]
            self.init(
                head: BackupRequestHead(
                    method: "PUT", path: "/\(kind.rawValue)_index", contentType: "application/json"),
                body: Array(body.compactText.utf8))
        case .close(let kind, let close):
            self = bare(
                "POST", "/\(kind.rawValue)_close",
                [
                    ("chunk-count", "\(close.chunkCount)"), ("csum", close.checksum), ("size", "\(close.size)"),
                    ("wid", "\(close.writer)"),
                ])
        case .uploadBlob(let name, let encodedSize):
            self = withData("/blob", [("encoded-size", "\(encodedSize)"), ("file-name", name)])
        case .previousBackupTime: self = bare("GET", "/previous_backup_time")
        case .previous(let name): self = bare("GET", "/previous", [("archive-name", name)])
        case .finish: self = bare("POST", "/finish")
        case .speedtest: self = withData("/speedtest", [])
        }
    }

    /// The request of a reader's call.
    package init(_ call: ReaderCall) {
        let (path, pairs): (String, [(name: String, value: String)]) =
            switch call {
            case .directory: ("/", [])
            case .download(let name): ("/download", [("file-name", name)])
            case .chunk(let digest): ("/chunk", [("digest", "\(digest)")])
            case .speedtest: ("/speedtest", [])
            }
        self.init(
            head: BackupRequestHead(method: "GET", path: path, query: FormText.encode(pairs), contentType: Self.form))
    }
}

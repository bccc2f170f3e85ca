import BackupFormats
import NIOHTTP1

/// Objects that are made of parts.
extension S3Client {
    struct Part: Sendable {
        let number: Int
        let tag: String

        var element: XMLElement {
            XMLElement(
                name: "Part",
                children: [
                    XMLElement(name: "PartNumber", text: String(number)), XMLElement(name: "ETag", text: tag),
                ])
        }
    }

    /// - Returns: The id of the upload.
    func beginParts(_ key: String) async throws -> String {
        var request = S3Request(.POST, key, summary(key, "cannot be written"))
        request.query = [("uploads", "")]
        request.body = S3Body([])
        guard let id = try await send(request).xml()["UploadId"]?.text, !id.isEmpty else {
            throw BackupFailure(.corruptData, "\(request.summary): the store gave the upload no id")
        }
        return id
    }

    func putPart(_ key: String, _ upload: String, number: Int, _ body: S3Body) async throws -> Part {
        var request = S3Request(.PUT, key, summary(key, "cannot be written (part \(number))"))
        request.query = [("partNumber", String(number)), ("uploadId", upload)]
        request.attach(body)
        let response = try await send(request)
        return try part(number, response.headers.first(name: "etag"), request)
    }

    func copyPart(
        _ source: String, _ info: S3ObjectInfo, _ range: Range<UInt64>, to key: String, _ upload: String, number: Int
    ) async throws -> Part {
        var request = S3Request(.PUT, key, summary(source, "cannot be copied to \(key) (part \(number))"))
        request.query = [("partNumber", String(number)), ("uploadId", upload)]
        request.headers = [
            ("x-amz-copy-source", Self.path(bucket: settings.bucket, key: source)),
            ("x-amz-copy-source-range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)"),
        ]
        if let tag = info.tag { request.headers.append(("x-amz-copy-source-if-match", tag)) }
        let response = try await send(request)
        try rejectError(in: response, request)
        return try part(number, try response.xml()["ETag"]?.text, request)
    }

    private func part(_ number: Int, _ tag: String?, _ request: S3Request) throws -> Part {
        guard let tag else { throw BackupFailure(.corruptData, "\(request.summary): the store gave the part no tag") }
        return Part(number: number, tag: tag)
    }

    /// Makes the object of its parts.
    func endParts(_ key: String, _ upload: String, _ parts: [Part]) async throws {
        var request = S3Request(.POST, key, summary(key, "cannot be completed"))
        request.query = [("uploadId", upload)]
        let parts = parts.sorted { $0.number < $1.number }.map { $0.element }
        request.body = S3Body(Array(XMLElement(name: "CompleteMultipartUpload", children: parts).document.utf8))
        do {
            try rejectError(in: try await send(request), request)
        } catch let failure as BackupFailure where (failure.cause as? S3Failure)?.code == "NoSuchUpload" {
            // The answer to an earlier try was lost: then the object is there.
            guard try await exists(key) else { throw failure }
        }
    }

    /// Drops all parts; a failure leaves them to the store's own rules.
    func abortParts(_ key: String, _ upload: String) async {
        var request = S3Request(.DELETE, key, summary(key, "cannot be given up"))
        request.query = [("uploadId", upload)]
        _ = try? await send(request)
    }

    /// Keys of uploads that were begun and neither completed nor given up.
    package func unfinishedUploads(prefix: String) async throws -> [String] {
        var request = S3Request(.GET, nil, "The uploads of \(settings.display) cannot be listed")
        request.query = [("uploads", ""), ("prefix", prefix)]
        return try await send(request).xml().all("Upload").compactMap { $0["Key"]?.text }
    }

    func copyInParts(_ key: String, _ info: S3ObjectInfo, to target: String) async throws {
        let step = UInt64(S3PartSize.bytes(for: info.byteCount, atLeast: 256 << 20))
        let upload = try await beginParts(target)
        do {
            var parts: [Part] = []
            for start in stride(from: 0, to: info.byteCount, by: Int(step)) {
                let range = start..<min(info.byteCount, start + step)
                parts.append(try await copyPart(key, info, range, to: target, upload, number: parts.count + 1))
            }
            try await endParts(target, upload, parts)
        } catch {
            // Also where the caller was cancelled.
            await Task { [self] in await abortParts(target, upload) }.value
            throw error
        }
    }
}

/// How long the parts of an upload are.
package enum S3PartSize {
    /// The shortest with which `byteCount` fits into the parts that an object may have, in whole MiB.
    package static func bytes(for byteCount: UInt64, atLeast least: Int = S3Limits.smallestPart) -> Int {
        let parts = UInt64(S3Limits.partCount)
        let needed = (byteCount + parts - 1) / parts
        let rounded = (needed + (1 << 20) - 1) & ~((1 << 20) - 1)
        return min(S3Limits.largestPart, max(least, Int(clamping: rounded)))
    }
}

import BackupFormats
import NIOHTTP1

/// What a listing tells.
package struct S3Listing: Sendable, Equatable {
    package struct Object: Sendable, Equatable {
        package let key: String
        package let byteCount: UInt64
    }

    package var objects: [Object] = []
    /// What is before the delimiter in further keys, with it.
    package var prefixes: [String] = []
}

/// What is known of an object without its content.
package struct S3ObjectInfo: Sendable, Equatable {
    package let byteCount: UInt64
    /// With its quotes.
    package let tag: String?
}

/// Objects, one request each.
extension S3Client {
    /// - Throws: ``BackupFailure`` of kind `notFound` where there is none.
    package func head(_ key: String) async throws -> S3ObjectInfo {
        let response = try await send(S3Request(.HEAD, key, summary(key, "cannot be examined")))
        return S3ObjectInfo(
            byteCount: response.headers.first(name: "content-length").flatMap { UInt64($0) } ?? 0,
            tag: response.headers.first(name: "etag"))
    }

    package func exists(_ key: String) async throws -> Bool {
        do {
            _ = try await head(key)
            return true
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return false
        }
    }

    /// Bytes of an object; fewer than `count` only at its end.
    ///
    /// - Parameter tag: The object must still be this one, else `conflict`.
    package func read(_ key: String, at offset: UInt64, count: Int, tag: String? = nil) async throws -> [UInt8] {
        guard count > 0 else { return [] }
        var request = S3Request(.GET, key, summary(key, "cannot be read"))
        request.headers.append(("range", "bytes=\(offset)-\(offset + UInt64(count) - 1)"))
        if let tag { request.headers.append(("if-match", tag)) }
        request.answerLimit = max(count, S3Limits.answer)
        do {
            let response = try await send(request)
            if response.status == 206 { return response.body }
            // The whole object instead of a part of it.
            let body = response.body
            guard offset < body.count else { return [] }
            return Array(body[Int(offset)..<min(body.count, Int(offset) + count)])
        } catch let failure as BackupFailure where (failure.cause as? S3Failure)?.status == 416 {
            return []
        }
    }

    /// The whole object.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where it is longer than `limit`.
    package func read(_ key: String, limit: Int) async throws -> [UInt8] {
        let bytes = try await read(key, at: 0, count: limit + 1)
        guard bytes.count <= limit else {
            throw BackupFailure(.invalidInput, summary(key, "is longer than \(limit) bytes"))
        }
        return bytes
    }

    /// - Parameter isNew: Whether an object of that name is a `conflict`.
    package func put(_ key: String, _ bytes: [UInt8], isNew: Bool) async throws {
        if isNew { try await requireNew(key) }
        try await put(key, S3Body(bytes))
    }

    func put(_ key: String, _ body: S3Body) async throws {
        var request = S3Request(.PUT, key, summary(key, "cannot be written"))
        request.attach(body)
        _ = try await send(request)
    }

    func requireNew(_ key: String) async throws {
        guard try await exists(key) else { return }
        throw BackupFailure(.conflict, summary(key, "cannot be written, since it exists"))
    }

    /// All objects whose keys begin with `prefix`; of those with the delimiter after it, only what is before that.
    package func list(prefix: String, delimiter: String?) async throws -> S3Listing {
        var result = S3Listing()
        var token: String?
        repeat {
            let page = try await listPage(prefix, delimiter, token: token, limit: nil)
            result.objects += page.listing.objects
            result.prefixes += page.listing.prefixes
            token = page.next
        } while token != nil
        return result
    }

    /// Asks for one object, to see that the bucket is there and may be listed.
    package func check() async throws { _ = try await listPage("", nil, token: nil, limit: 1) }

    private func listPage(
        _ prefix: String, _ delimiter: String?, token: String?, limit: Int?
    ) async throws -> (listing: S3Listing, next: String?) {
        var request = S3Request(.GET, nil, "The bucket \(settings.display) cannot be listed")
        request.query = [("list-type", "2"), ("prefix", prefix)]
        if let delimiter { request.query.append(("delimiter", delimiter)) }
        if let token { request.query.append(("continuation-token", token)) }
        if let limit { request.query.append(("max-keys", String(limit))) }
        let document = try await send(request).xml()
        var listing = S3Listing()
        for item in document.all("Contents") {
            guard let key = item["Key"]?.text, let size = item["Size"].flatMap({ UInt64($0.text) }) else {
                throw BackupFailure(.corruptData, "\(request.summary): an object has no key or size")
            }
            listing.objects.append(S3Listing.Object(key: key, byteCount: size))
        }
        listing.prefixes = document.all("CommonPrefixes").compactMap { $0["Prefix"]?.text }
        guard limit == nil, document["IsTruncated"]?.text == "true" else { return (listing, nil) }
        guard let next = document["NextContinuationToken"]?.text, next != token else {
            throw BackupFailure(.corruptData, "\(request.summary): the store does not say where to go on")
        }
        return (listing, next)
    }

    /// A missing object is no error.
    package func delete(_ key: String) async throws {
        do {
            _ = try await send(S3Request(.DELETE, key, summary(key, "cannot be removed")))
        } catch let failure as BackupFailure where failure.kind == .notFound {}
    }

    /// Many at once; missing ones are no error.
    package func delete(_ keys: [String]) async throws {
        for start in stride(from: 0, to: keys.count, by: S3Limits.deletions) {
            let batch = keys[start..<min(keys.count, start + S3Limits.deletions)]
            var request = S3Request(.POST, nil, "\(batch.count) objects of \(settings.display) cannot be removed")
            request.query = [("delete", "")]
            let items = batch.map { XMLElement(name: "Object", children: [XMLElement(name: "Key", text: $0)]) }
            let quiet = XMLElement(name: "Quiet", text: "true")
            request.attach(S3Body(Array(XMLElement(name: "Delete", children: [quiet] + items).document.utf8)))
            let errors = try await send(request).xml().all("Error").filter { $0["Code"]?.text != "NoSuchKey" }
            guard let first = errors.first else { continue }
            throw BackupFailure(
                first["Code"]?.text == "AccessDenied" ? .notAuthorized : .unavailable,
                "\(errors.count) objects of \(settings.display) cannot be removed, the first of them "
                    + "\(first["Key"]?.text ?? "?"): \(first["Code"]?.text ?? "") \(first["Message"]?.text ?? "")")
        }
    }

    /// Copies within the bucket; in parts where it is long.
    package func copy(_ key: String, to target: String) async throws {
        let info = try await head(key)
        guard info.byteCount > S3Limits.copy else {
            var request = S3Request(.PUT, target, summary(key, "cannot be copied to \(target)"))
            request.headers.append(("x-amz-copy-source", Self.path(bucket: settings.bucket, key: key)))
            try rejectError(in: try await send(request), request)
            return
        }
        try await copyInParts(key, info, to: target)
    }

    /// Whether the bucket keeps its objects from being changed. A store that does not know the question does not.
    package func hasObjectLock() async -> Bool {
        var request = S3Request(.GET, nil, "The object lock of \(settings.display) cannot be asked for")
        request.query = [("object-lock", "")]
        guard let document = try? await send(request).xml() else { return false }
        return document["ObjectLockEnabled"]?.text == "Enabled"
    }

    func summary(_ key: String, _ what: String) -> String { "The object \(key) of \(settings.display) \(what)" }

    /// Long operations answer 200 first and may fail afterwards, in the body.
    func rejectError(in response: S3Response, _ request: S3Request) throws {
        guard let document = try? response.xml(), document.name == "Error" else { return }
        throw S3Failure(response).failure(request.summary, settings)
    }
}

package import BackupFormats
import Synchronization

extension S3Client {
    /// Writes a stream: by one request where it is short, else in parts, which are dropped on any failure.
    ///
    /// - Parameters:
    ///   - maxByteCount: More will not come; the parts are sized by it. A longer stream fails.
    ///   - isNew: Whether an object of that name is a `conflict`.
    /// - Returns: Bytes written.
    package func put(
        _ key: String, from source: any ByteSource, maxByteCount: UInt64?, isNew: Bool
    ) async throws -> UInt64 {
        if isNew { try await requireNew(key) }
        let partBytes = S3PartSize.bytes(for: maxByteCount ?? S3Limits.unknownStream)
        let scratch = partBytes > partInMemory ? scratch : nil
        let first = try await S3Body.next(partBytes, of: source, in: scratch)
        if first.byteCount < partBytes {
            try await put(key, first)
            return UInt64(first.byteCount)
        }
        let upload = try await beginParts(key)
        do {
            let (parts, count) = try await putParts(key, upload, first, source, partBytes, scratch)
            if isNew { try await requireNew(key) }
            try await endParts(key, upload, parts)
            return count
        } catch {
            await Task { [self] in await abortParts(key, upload) }.value
            throw error
        }
    }

    /// Sends a part while the next is read, and several where they are small.
    private func putParts(
        _ key: String, _ upload: String, _ first: S3Body, _ source: any ByteSource, _ partBytes: Int,
        _ scratch: S3Scratch?
    ) async throws -> ([Part], UInt64) {
        let width = max(1, S3Limits.inFlight / partBytes)
        return try await withThrowingTaskGroup(of: Part.self) { group in
            var parts: [Part] = []
            var count: UInt64 = 0
            var number = 0
            var next: S3Body? = first
            while let body = next, body.byteCount > 0 {
                number += 1
                guard number <= S3Limits.partCount else {
                    throw BackupFailure(
                        .invalidInput,
                        summary(key, "cannot be written: the stream is longer than was said (\(count) bytes)"))
                }
                if number > width, let part = try await group.next() { parts.append(part) }
                let place = number
                group.addTask { try await self.putPart(key, upload, number: place, body) }
                count += UInt64(body.byteCount)
                next = nil
                if body.byteCount == partBytes {
                    next = try await S3Body.next(partBytes, of: source, in: scratch)
                }
            }
            for try await part in group { parts.append(part) }
            return (parts, count)
        }
    }

    /// An object from its beginning to its end.
    ///
    /// - Throws: ``BackupFailure`` of kind `notFound` where there is none.
    package func stream(_ key: String) async throws -> any ByteSource {
        S3Stream(key, try await head(key), client: self)
    }
}

/// Reads an object range by range, one ahead of its reader, so that a lost connection costs one range only.
private actor S3Stream: ByteSource {
    private let key: String
    private let info: S3ObjectInfo
    private let client: S3Client
    private var offset: UInt64 = 0
    private var held: ArraySlice<UInt8> = []
    private var ahead: Task<[UInt8], any Error>?

    init(_ key: String, _ info: S3ObjectInfo, client: S3Client) {
        self.key = key
        self.info = info
        self.client = client
    }

    deinit { ahead?.cancel() }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if held.isEmpty {
            guard let bytes = try await next() else { return nil }
            held = bytes[...]
        }
        let piece = Array(held.prefix(maxBytes))
        held = held.dropFirst(piece.count)
        return piece
    }

    private func next() async throws -> [UInt8]? {
        guard let task = ahead ?? fetch() else { return nil }
        let expected = Int(min(UInt64(S3Limits.range), info.byteCount - offset))
        let bytes = try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
        guard bytes.count == expected else {
            throw BackupFailure(
                .corruptData,
                client.summary(key, "ends after \(offset + UInt64(bytes.count)) bytes instead of \(info.byteCount)"))
        }
        offset += UInt64(bytes.count)
        ahead = fetch()
        return bytes
    }

    private func fetch() -> Task<[UInt8], any Error>? {
        guard offset < info.byteCount else { return nil }
        let (key, info, client, offset) = (key, info, client, offset)
        let count = Int(min(UInt64(S3Limits.range), info.byteCount - offset))
        return Task { try await client.read(key, at: offset, count: count, tag: info.tag) }
    }
}

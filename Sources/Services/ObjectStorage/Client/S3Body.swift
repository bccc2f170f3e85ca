import BackupFormats
import Crypto
import NIOCore
import Platform

/// The body of a request, which can be sent again: short ones are in memory, long ones in a file without a name.
struct S3Body: Sendable {
    enum Content: Sendable {
        case bytes([UInt8])
        case file(OpenFile)
    }

    let content: Content
    let byteCount: Int
    /// Base64, for `content-md5`.
    let md5: String
    /// Hexadecimal digits, for the signature.
    let sha256: String

    init(_ bytes: [UInt8]) {
        content = .bytes(bytes)
        byteCount = bytes.count
        md5 = Base64.encode(Array(Insecure.MD5.hash(data: bytes)))
        sha256 = RequestSigner.hash(bytes)
    }

    /// Takes up to `count` bytes from a stream; fewer only at its end.
    ///
    /// - Parameter scratch: Where it lies instead of in memory.
    static func next(_ count: Int, of source: any ByteSource, in scratch: S3Scratch?) async throws -> S3Body {
        guard let scratch else { return S3Body(try await source.fill(count)) }
        let file = try await scratch.make()
        var filled = 0
        var md5 = Insecure.MD5()
        var sha256 = SHA256()
        while filled < count, let piece = try await source.read(upTo: min(count - filled, S3Limits.scratchPiece)) {
            md5.update(data: piece)
            sha256.update(data: piece)
            try await scratch.write(piece, to: file, at: filled)
            filled += piece.count
        }
        return S3Body(
            content: .file(file), byteCount: filled, md5: Base64.encode(Array(md5.finalize())),
            sha256: Hex.encode(Array(sha256.finalize())))
    }

    private init(content: Content, byteCount: Int, md5: String, sha256: String) {
        self.content = content
        self.byteCount = byteCount
        self.md5 = md5
        self.sha256 = sha256
    }
}

extension ByteSource {
    /// `count` bytes, fewer only at the end.
    fileprivate func fill(_ count: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count, let piece = try await read(upTo: min(count - bytes.count, 4 << 20)) {
            bytes += piece
        }
        return bytes
    }
}

/// Keeps parts that are too long for the memory in files that have no name and go with their last use.
struct S3Scratch: Sendable {
    private let folder: String
    private let workers: WorkerPool

    init(folder: String) {
        self.folder = folder
        workers = WorkerPool(name: "parts of objects", width: 2)
    }

    func close() { workers.close() }

    func make() async throws -> OpenFile {
        let folder = folder
        return try await run { () throws(SystemError) in
            try FileSystem.makeFolders(folder, mode: 0o700)
            let path = "\(folder)/part-\(Hex.encode(try SystemRandom.bytes(8)))"
            let file = try OpenFile(path, .makeNew(mode: 0o600))
            try FileSystem.removeFile(path)
            return file
        }
    }

    func write(_ bytes: [UInt8], to file: OpenFile, at offset: Int) async throws {
        try await run { () throws(SystemError) in try file.write(bytes, at: offset) }
    }

    fileprivate func read(_ file: OpenFile, at offset: Int, count: Int) async throws -> [UInt8] {
        try await run { () throws(SystemError) in try file.read(at: offset, count: count) }
    }

    /// The content of a part, to be sent.
    func content(of file: OpenFile, byteCount: Int) -> S3ScratchContent {
        S3ScratchContent(file: file, byteCount: byteCount, scratch: self)
    }

    private func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) async throws -> Value {
        let folder = folder
        return try await workers.run {
            do throws(SystemError) {
                return try body()
            } catch {
                throw error.failure("The folder \(folder) cannot hold a part of an upload")
            }
        }
    }
}

struct S3ScratchContent: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let file: OpenFile
    let byteCount: Int
    let scratch: S3Scratch

    struct AsyncIterator: AsyncIteratorProtocol {
        let content: S3ScratchContent
        var offset = 0

        mutating func next() async throws -> ByteBuffer? {
            let count = Swift.min(S3Limits.scratchPiece, content.byteCount - offset)
            guard count > 0 else { return nil }
            let bytes = try await content.scratch.read(content.file, at: offset, count: count)
            offset += bytes.count
            return ByteBuffer(bytes: bytes)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(content: self) }
}

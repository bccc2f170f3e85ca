import BackupFormats
import Platform
import Synchronization

/// A file of a ``FileRemote`` that is open.
final class OpenRemoteFile: RemoteFile {
    private let path: RemotePath
    private let remote: FileRemote
    private let file: Mutex<OpenFile?>
    /// The folder in which the name is new and not yet durable.
    private let newFolder: Mutex<OpenNode?>

    init(_ file: OpenFile, newIn folder: OpenNode?, path: RemotePath, remote: FileRemote) {
        self.file = Mutex(file)
        newFolder = Mutex(folder)
        self.path = path
        self.remote = remote
    }

    func size() async throws -> UInt64 {
        try await run("cannot be examined") { file throws(SystemError) in UInt64(try file.byteCount()) }
    }

    func read(at offset: UInt64, count: Int) async throws -> [UInt8] {
        try await run("cannot be read") { file throws(SystemError) in
            try file.read(at: Int(clamping: offset), count: count)
        }
    }

    func write(_ bytes: [UInt8], at offset: UInt64) async throws {
        try await run("cannot be written") { file throws(SystemError) in
            try file.write(bytes, at: Int(clamping: offset))
        }
    }

    func truncate(to size: UInt64) async throws {
        try await run("cannot be cut") { file throws(SystemError) in try file.truncate(to: Int(clamping: size)) }
    }

    func sync() async throws {
        let folder = newFolder.withLock { $0 }
        try await run("cannot be made durable") { file throws(SystemError) in
            try file.sync()
            try folder?.sync()
        }
        newFolder.withLock { $0 = nil }
    }

    func close() async {
        file.withLock { $0 = nil }
        newFolder.withLock { $0 = nil }
    }

    private func run<Value: Sendable>(
        _ what: String, _ body: @escaping @Sendable (OpenFile) throws(SystemError) -> Value
    ) async throws -> Value {
        guard let file = file.withLock({ $0 }) else {
            throw BackupFailure(.internalFault, "\(path) is used after it was closed")
        }
        return try await remote.run(path, what) { _ throws(SystemError) in try body(file) }
    }
}

/// A file from its beginning to its end.
final class FileRemoteStream: ByteSource {
    private let file: OpenRemoteFile
    private let offset = Mutex<UInt64>(0)

    init(_ file: OpenRemoteFile) { self.file = file }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let place = offset.withLock { $0 }
        let bytes = try await file.read(at: place, count: min(maxBytes, FileRemote.pieceBytes))
        guard !bytes.isEmpty else { return nil }
        offset.withLock { $0 += UInt64(bytes.count) }
        return bytes
    }
}

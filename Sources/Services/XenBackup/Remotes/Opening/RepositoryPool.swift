package import BackupFormats
package import Logging
import ObjectStorage
import Synchronization

/// Opens chunk stores, where a remote is one. (Spec: xo-proxy §10.1.)
package protocol ChunkStoreOpening: Sendable {
    /// By the path of a `file` address that the configuration maps; nil for a path that means a folder.
    func open(mappedPath path: String, remoteID: String, name: String) async throws -> (any XenRepository)?
    /// By a folder, mounted or not, that is a datastore; nil for any other.
    func open(folder: String, remoteID: String, name: String) async throws -> (any XenRepository)?
}

/// Opens remotes, and keeps their files open for a while after the last use.
///
/// What is open is shared by all calls whose address and options are equal; another password or option opens anew.
/// (Spec: xo-proxy §2.0.)
package final class RepositoryPool: RepositoryOpening {
    package struct Configuration: Sendable {
        /// Whether folders of this machine may be remotes. Chunk stores by their mapped paths always may. (Spec: X16.)
        package var allowsFileRemotes = false
        /// How long something stays open after its last use.
        package var idle: Duration = .seconds(300)
        /// For opening, where the caller has no limit of its own (`getRemoteTimeout`).
        package var openLimit: Duration = .seconds(300)
        /// For parts of uploads to object stores that are too long for the memory; nil: they stay there.
        package var scratchFolder: String?

        package init() {}
    }

    /// Makes the repository of the classic layout; its `close` closes the files.
    package typealias ClassicMaker =
        @Sendable (_ files: any RemoteFiles, _ remote: RemoteDescription) async throws -> any XenRepository

    private let configuration: Configuration
    private let mounts: MountTable
    private let chunkStores: (any ChunkStoreOpening)?
    private let makeClassic: ClassicMaker
    private let time: TimeSource
    private let logger: Logger
    private let open = Mutex<[RemoteDescription.Key: OpenRemote]>([:])

    /// - Parameter classic: In place of ``ClassicRepository``.
    package init(
        configuration: Configuration, mounter: Mounter, chunkStores: (any ChunkStoreOpening)?, time: TimeSource,
        logger: Logger, classic: ClassicMaker? = nil
    ) {
        self.configuration = configuration
        mounts = MountTable(mounter)
        self.chunkStores = chunkStores
        self.time = time
        self.logger = logger
        makeClassic =
            classic ?? { files, remote in
                ClassicRepository(files: files, remoteID: remote.id, name: remote.name, time: time, logger: logger) {
                    await RemoteTester.test($0, time: time)
                }
            }
    }

    /// Opens a remote; whoever does closes it once.
    ///
    /// - Throws: ``BackupFailure``: `invalidInput` for an address that cannot be read, `unsupported` for what is not
    ///   built, `notAuthorized` for what the configuration refuses, and what the remote itself says.
    package func open(_ remote: JSONObject) async throws -> any XenRepository {
        let remote = try RemoteDescription(remote)
        if case .file(let path) = remote.url.place,
            let store = try await chunkStores?.open(mappedPath: path, remoteID: remote.id, name: remote.name)
        {
            return store
        }
        try check(remote)
        let files = try await files(of: remote)
        do {
            if let folder = files.folder,
                let store = try await chunkStores?.open(folder: folder, remoteID: remote.id, name: remote.name)
            {
                return LeasedRepository(store, files)
            }
            try await Self.checkContent(files, remote)
            return try await makeClassic(files, remote)
        } catch {
            await files.close()
            throw error
        }
    }

    /// The files of a remote, whatever lies in them. Whoever asks closes them.
    package func openFiles(_ remote: JSONObject) async throws -> any RemoteFiles {
        let remote = try RemoteDescription(remote)
        try check(remote)
        return try await files(of: remote)
    }

    /// Closes all that nobody uses, as when the server stops.
    package func close() async {
        let all = open.withLock { open in
            defer { open = [:] }
            return open.values
        }
        for remote in all { await remote.closeWhenUnused() }
    }

    // MARK: What is refused

    private func check(_ remote: RemoteDescription) throws {
        switch remote.url.place {
        case .azure: throw Self.unsupported("Azure remotes", remote)
        case .file where !configuration.allowsFileRemotes:
            throw BackupFailure(
                .notAuthorized, "Local remotes (file://) are not allowed on this server, so \(remote.name) is refused",
                hints: ["Allow them by the option --xo-allow-file-remotes of cairn serve, or use a datastore of it."])
        default: break
        }
        if remote.url.encryptionKey != nil { throw Self.unsupported("encrypted remotes", remote) }
    }

    /// What lies there must not be mixed with the classic layout, nor files that are plain with those that are not.
    private static func checkContent(_ files: any RemoteFiles, _ remote: RemoteDescription) async throws {
        let names = try await files.list("")
        if names.contains(".chunks") {
            throw BackupFailure(
                .invalidInput, "The remote \(remote.name) holds a datastore that is not one of this server",
                hints: ["Add it as a datastore of this server first: `cairn datastore create`."])
        }
        guard names.contains("encryption.json") else { return }
        let bytes = try await files.read("encryption.json", limit: 64 << 10)
        let algorithm = (try? JSONValue(parsing: bytes))?["algorithm"]?.stringValue
        if algorithm != "none" { throw unsupported("encrypted remotes", remote) }
    }

    private static func unsupported(_ feature: String, _ remote: RemoteDescription) -> BackupFailure {
        BackupFailure(.unsupported, "\(feature) are not supported yet (\(remote.name))")
    }

    // MARK: What is open

    private func files(of remote: RemoteDescription) async throws -> LeasedFiles {
        while true {
            let (shared, isIdle) = take(remote)
            do {
                let opened = try await shared.wait(at: configuration.openLimit, for: remote.name)
                // After a rest: is it still there?
                if isIdle { _ = try await opened.files.list("") }
                return LeasedFiles(opened, shared, self, usesBlockFolders: remote.url.usesBlockFolders)
            } catch {
                forget(shared)
                await shared.release(keepsFor: .zero)
                try Task.checkCancellation()
                if !isIdle { throw error }
            }
        }
    }

    /// `isIdle`: it was open already and nobody used it.
    private func take(_ remote: RemoteDescription) -> (OpenRemote, isIdle: Bool) {
        open.withLock { open in
            if let shared = open[remote.key], let users = shared.take() { return (shared, users == 0) }
            let shared = OpenRemote(key: remote.key, pool: self) { [self] in try await openPlace(remote) }
            open[remote.key] = shared
            return (shared, false)
        }
    }

    func release(_ shared: OpenRemote) async { await shared.release(keepsFor: configuration.idle) }

    /// No further call gets it.
    func forget(_ shared: OpenRemote) {
        open.withLock { open in
            if open[shared.key] === shared { open[shared.key] = nil }
        }
    }

    private func openPlace(_ remote: RemoteDescription) async throws -> OpenRemote.Content {
        let name = remote.name
        logger.debug("opening the remote \(name)")
        switch remote.url.place {
        case .file(let path):
            let files = try await openFolder(path, remote)
            return OpenRemote.Content(files: files, folder: path) { await files.close() }
        case .nfs, .smb:
            guard let command = try MountCommand(remote.url, extra: remote.options) else {
                throw BackupFailure(.internalFault, "The remote \(name) has no mount")
            }
            let mounts = mounts
            let folder = try await mounts.mount(command, name: name)
            do {
                let files = try await openFolder(folder, remote)
                return OpenRemote.Content(files: files, folder: folder) {
                    await files.close()
                    await mounts.release(command)
                }
            } catch {
                await mounts.release(command)
                throw error
            }
        case .s3(let place):
            let settings = S3Settings(
                isTLS: place.isTLS, host: place.host, bucket: place.bucket, accessKey: place.accessKey,
                secretKey: place.secretKey, region: place.effectiveRegion,
                allowsAnyCertificate: remote.url.allowsUnauthorized)
            let files = try await S3Remote.open(
                settings, folder: place.folder, isImmutable: remote.url.isImmutable,
                scratchFolder: configuration.scratchFolder, time: time)
            return OpenRemote.Content(files: files, folder: nil) { await files.close() }
        case .azure: throw Self.unsupported("Azure remotes", remote)
        }
    }

    private func openFolder(_ path: String, _ remote: RemoteDescription) async throws -> FileRemote {
        try await FileRemote.open(path, name: remote.name, isImmutable: remote.url.isImmutable, time: time)
    }
}

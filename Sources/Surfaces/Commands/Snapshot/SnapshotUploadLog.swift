import ArgumentParser
import BackupClient
import BackupFormats
import Platform

/// The old name of `snapshot upload-log`.
struct UploadLogAlias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upload-log", abstract: "As snapshot upload-log.", shouldDisplay: false)
    @OptionGroup var command: SnapshotUploadLog
    mutating func run() async throws { try await command.run() }
}

struct SnapshotUploadLog: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upload-log", abstract: "Adds a log file to a snapshot that has none.")

    @Argument(help: ArgumentHelp("A snapshot as type/id/time.", valueName: "snapshot")) var snapshot: String
    @Argument(help: ArgumentHelp("The file.", valueName: "log-file")) var file: String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var keys: KeyOptions

    mutating func run() async throws {
        let name = try Names.snapshot(snapshot)
        let parameters = try name.parameters.merging(namespace.parameters())
        let content: [UInt8]
        do { content = try FileSystem.read(file, limit: BlobLimits.maxChunkContent) } catch {
            throw error.failure("The log file \(file) cannot be read")
        }
        let protection = try keys.protection(time: name.time)
        let blob = try ChunkCodec(key: protection.encryptionKey).encodeBlob(content)
        try await repository.withServer { server, repository in
            try await server.upload(
                blob, to: datastorePath(repository, "upload-backup-log"), parameters,
                trying: "The log of \(name) cannot be sent")
        }
    }
}

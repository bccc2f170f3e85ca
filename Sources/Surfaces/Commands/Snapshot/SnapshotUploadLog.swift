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

    @OptionGroup var snapshot: SnapshotOptions
    @Argument(help: ArgumentHelp("The file.", valueName: "log-file"), completion: .file()) var file: String
    @OptionGroup var keys: KeyOptions

    mutating func run() async throws {
        let (name, parameters) = (try snapshot.name(), try snapshot.parameters())
        let content: [UInt8]
        do { content = try FileSystem.read(file, limit: BlobLimits.maxChunkContent) } catch {
            throw error.failure("The log file \(file) cannot be read")
        }
        let protection = try keys.protection(time: name.time)
        let blob = try ChunkCodec(key: protection.encryptionKey).encodeBlob(content)
        try await snapshot.repository.withServer { server, repository in
            try await server.upload(
                blob, to: datastorePath(repository, "upload-backup-log"), parameters,
                trying: "The log of \(name) cannot be sent")
        }
    }
}

import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Platform

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Restores an archive of a snapshot.",
        discussion: """
            The archive is named as when it was backed up (root.pxar, disk.img, app.conf), index.json is the manifest. \
            The target is a folder for pxar, a file or block device for an image, a file for the rest; - is standard \
            output. A group in place of a snapshot means its newest one.

            With a key, a manifest that is not signed by it is refused.
            """)

    @Argument(help: ArgumentHelp("type/id/time, or type/id for the newest.", valueName: "snapshot")) var snapshot:
        String
    @Argument(help: ArgumentHelp("The archive.", valueName: "archive")) var archive: String
    @Argument(help: ArgumentHelp("Where to, or - for standard output.", valueName: "target"), completion: .directory)
    var target: String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @Option(help: ArgumentHelp("Restore only what matches the pattern; may be given again.", valueName: "pattern"))
    var pattern: [String] = []
    @Flag(help: "Restore into folders that exist.") var allowExistingDirs = false
    @Flag(help: "Replace files, symbolic links and hard links that exist.") var overwrite = false
    @Flag(help: "Replace files that exist.") var overwriteFiles = false
    @Flag(help: "Replace symbolic links that exist.") var overwriteSymlinks = false
    @Flag(help: "Replace hard links that exist.") var overwriteHardlinks = false
    @Flag(help: "Do not restore ACLs.") var ignoreAcls = false
    @Flag(help: "Do not restore extended attributes.") var ignoreXattrs = false
    @Flag(help: "Do not restore owners and groups.") var ignoreOwnership = false
    @Flag(help: "Do not restore permissions.") var ignorePermissions = false
    @Flag(help: "Go on where a device node cannot be made.") var ignoreExtractDeviceErrors = false
    @Flag(help: "Take a manifest without a right signature although there is a key.") var acceptUnsigned = false
    @OptionGroup var keys: KeyOptions
    @OptionGroup var rates: RateOptions
    @Flag(help: "Show errors and warnings only.") var quiet = false

    mutating func run() async throws {
        let plan = RestorePlan(
            archive: archive, target: target, treeOptions: treeOptions(), overwrites: overwrite || overwriteFiles,
            progress: Progress(isQuiet: quiet))
        let key = try keys.key()?.key
        let (text, acceptUnsigned) = (snapshot, acceptUnsigned)
        let namespace = try namespace.parameters()
        try await repository.withServer(options: rates) { server, repository in
            let name = try await SnapshotChoice.resolve(text, namespace, server, repository)
            let parameters = name.parameters.merging(namespace)
                .merging(["store": .string(repository.datastore), "debug": true])
            let transport = try await server.openSession(
                .reader, parameters, trying: "The snapshot \(name) cannot be opened")
            do {
                let download = try await SnapshotDownload.open(
                    name, transport: transport, key: key, acceptsUnsigned: acceptUnsigned)
                try await plan.run(download)
                await transport.close()
            } catch {
                await transport.close()
                throw error
            }
        }
    }

    private func treeOptions() -> TreeExtractOptions {
        var options = TreeExtractOptions()
        options.patterns = pattern
        options.allowsExistingFolders = allowExistingDirs || overwrite
        options.overwritesFiles = overwrite || overwriteFiles
        options.overwritesSymlinks = overwrite || overwriteSymlinks
        options.overwritesHardLinks = overwrite || overwriteHardlinks
        options.ignoresACLs = ignoreAcls
        options.ignoresXAttrs = ignoreXattrs
        options.ignoresOwnership = ignoreOwnership
        options.ignoresPermissions = ignorePermissions
        options.ignoresDeviceErrors = ignoreExtractDeviceErrors
        return options
    }
}

/// Which snapshot is meant.
enum SnapshotChoice {
    /// A snapshot as it is named, or the newest finished one of a group.
    static func resolve(
        _ text: String, _ namespace: JSONObject, _ server: RemoteServer, _ repository: Repository
    ) async throws -> SnapshotName {
        if let name = SnapshotName(parsing: text) { return name }
        guard let group = BackupGroup(parsing: text) else {
            throw BackupFailure(
                .invalidInput, "'\(text)' is neither a snapshot nor a group",
                hints: ["Write type/id/time, for example host/web/2024-06-01T00:00:00Z, or type/id for the newest."])
        }
        let snapshots = try await server.call(
            "GET", datastorePath(repository, "snapshots"), group.parameters.merging(namespace),
            trying: "The snapshots of \(group) cannot be listed")
        let times = (snapshots.arrayValue ?? []).filter { isFinished($0) }.compactMap { $0["backup-time"]?.intValue }
        guard let newest = times.max(), let name = SnapshotName(group: group, time: newest) else {
            throw BackupFailure(.noSuchObject, "The group \(group) has no finished snapshot")
        }
        return name
    }

    private static func isFinished(_ snapshot: JSONValue) -> Bool {
        (snapshot["files"]?.arrayValue ?? []).contains {
            ($0["filename"]?.stringValue ?? $0.stringValue) == ArchiveName.manifest.name
        }
    }
}

/// A restore that is ready to go, whatever carries it.
private struct RestorePlan: Sendable {
    static let standardOutput = "-"

    let archive: String
    let target: String
    let treeOptions: TreeExtractOptions
    let overwrites: Bool
    let progress: Progress

    func run(_ download: SnapshotDownload) async throws {
        let counter = download.counter
        let begin = TimeSource.system.nanoseconds()
        try await progress.during({
            let now = counter.current
            return Progress.State(done: now.bytes, total: now.totalBytes > 0 ? now.totalBytes : nil)
        }) { try await restore(download) }
        let seconds = max(Double(TimeSource.system.nanoseconds() - begin) / 1e9, 0.001)
        let bytes = counter.current.bytes
        progress.note(
            "\(archive): \(ByteSize.text(bytes)) in \(Clock.text(seconds)) (\(ByteSize.text(Int64(Double(bytes) / seconds)))/s)"
        )
    }

    private func restore(_ download: SnapshotDownload) async throws {
        if archive == "index.json" || archive == ArchiveName.manifest.name {
            return try write(download.manifest.encoded + Array("\n".utf8))
        }
        let file = try download.file(named: archive)
        if target == Self.standardOutput {
            return try await download.stream(file) { try StandardStreams.write(StandardStreams.output, $0) }
        }
        switch file.name.kind {
        case .blob: try write(try await download.blob(file))
        case .fixedIndex:
            try await download.writeImage(file, to: try ImageTarget(target, overwrites: overwrites))
        case .dynamicIndex where file.name.name.hasSuffix(".pxar.didx"):
            let progress = progress
            let summary = try await download.restoreTree(file, into: target, options: treeOptions) { warning in
                progress.warn(warning.description)
            }
            progress.note("\(summary.entries) entries restored, \(summary.warnings) warnings")
        case .dynamicIndex:
            try await download.writeImage(file, to: try ImageTarget(target, overwrites: overwrites))
        }
    }

    /// Small content into a file, or to standard output.
    private func write(_ content: [UInt8]) throws {
        do {
            guard target != Self.standardOutput else {
                return try StandardStreams.write(StandardStreams.output, content)
            }
            guard try overwrites || !FileSystem.exists(target) else {
                throw BackupFailure(
                    .conflict, "\(target) exists already", hints: ["Choose another target, or add --overwrite."])
            }
            try AtomicFile.replace(target, with: content)
        } catch let error as SystemError {
            throw error.failure("\(target) cannot be written")
        }
    }
}

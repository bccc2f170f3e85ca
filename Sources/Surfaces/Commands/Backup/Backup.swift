import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Chunking
import Platform
import Synchronization

extension BackupType: ExpressibleByArgument {}

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Makes a snapshot of folders, images and files.",
        discussion: """
            Each archive is written as name.type:path. Types: pxar (a folder), img (a file or block device; - is \
            standard input), conf and log (a small file).

            Exit status: 0 when the snapshot is finished, 255 otherwise; entries that could not be read are warnings.
            """)

    @Argument(help: ArgumentHelp("The archives, as name.type:path.", valueName: "archive")) var archives: [String]
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @Option(help: "host, vm or ct.") var backupType: BackupType = .host
    @Option(help: ArgumentHelp("The name of the group. By default the name of this host.", valueName: "id"))
    var backupId: String?
    @Option(help: ArgumentHelp("The time of the snapshot in Unix seconds. By default now.", valueName: "seconds"))
    var backupTime: Int64?
    @Option(help: ArgumentHelp("Leave out what matches the pattern; may be given again.", valueName: "pattern"))
    var exclude: [String] = []
    @Option(help: ArgumentHelp("Enter the file system that is mounted there; may be given again.", valueName: "path"))
    var includeDev: [String] = []
    @Flag(help: "Enter all mounted file systems.") var allFileSystems = false
    @Flag(help: "Leave out lost+found.") var skipLostAndFound = false
    @Flag(
        name: .customLong("skip-e2big-xattr"), help: "Go on where a file has too many extended attributes to be read.")
    var skipBigXAttrs = false
    @Option(help: ArgumentHelp("Stop above so many files and folders.", valueName: "count")) var entriesMax =
        TreeArchiveOptions.defaultEntriesMax
    @Option(
        help: ArgumentHelp("Average size of a folder's chunks in KiB: a power of 2 from 64 to 4096.", valueName: "KiB"))
    var chunkSize = 4096
    @OptionGroup var keys: KeyOptions
    @OptionGroup var master: MasterKeyOptions
    @OptionGroup var rates: RateOptions
    @Flag(help: "Only read and cut; send nothing.") var dryRun = false
    @Flag(help: "Let the server bypass its cache of an object store.") var noCache = false
    @Option(help: ArgumentHelp("legacy; the other modes of the stock client are not there.", valueName: "mode"))
    var changeDetectionMode: String?
    @Flag(help: "Show errors and warnings only.") var quiet = false

    mutating func run() async throws {
        let plan = try makePlan()
        let progress = Progress(isQuiet: quiet)
        if dryRun { return try await plan.runDry(progress) }
        let namespace = try namespace.parameters()
        let noCache = noCache
        try await repository.withServer(options: rates) { server, repository in
            progress.note("Backing up \(plan.snapshot) to \(repository)")
            var parameters = plan.snapshot.parameters.merging(namespace)
                .merging(["store": .string(repository.datastore), "debug": true, "benchmark": false])
            if noCache { parameters["no-cache"] = true }
            let transport = try await server.openSession(
                .backup, parameters, trying: "The backup of \(plan.snapshot) cannot begin")
            do {
                try await plan.run(over: transport, progress)
                await transport.close()
            } catch {
                await transport.close()
                throw error
            }
        }
    }

    private func makePlan() throws -> BackupPlan {
        if let changeDetectionMode, changeDetectionMode != "legacy" {
            throw BackupFailure(
                .unsupported, "The change detection mode '\(changeDetectionMode)' is not there",
                hints: ["Leave the option away: everything is read, and what the server has is not sent."])
        }
        let sources = try archives.map { try BackupSource(parsing: $0) }
        for (place, source) in sources.enumerated()
        where sources[..<place].contains(where: { $0.archive == source.archive }) {
            throw BackupFailure(.invalidInput, "There are two archives named \(source.archive)")
        }
        if sources.count(where: { if case .stream = $0.content { true } else { false } }) > 1 {
            throw BackupFailure(.invalidInput, "Standard input can be one archive only")
        }
        guard let chunker = Chunker(averageSize: chunkSize << 10) else {
            throw BackupFailure(.invalidInput, "--chunk-size must be a power of 2 from 64 to 4096")
        }
        let id = backupId ?? Environment.current.hostName
        let time = backupTime ?? TimeSource.system.seconds
        guard let group = BackupGroup(type: backupType, id: id), let snapshot = SnapshotName(group: group, time: time)
        else {
            throw BackupFailure(
                .invalidInput, "'\(id)' with the time \(time) is no name of a snapshot",
                hints: ["An id has letters, digits, _ . and -; the time is 1 or later."])
        }
        var options = TreeArchiveOptions()
        options.excludes = exclude
        options.includedDevices = includeDev
        options.crossesFileSystems = allFileSystems
        options.skipsLostAndFound = skipLostAndFound
        options.skipsTooBigXAttrs = skipBigXAttrs
        options.entriesMax = entriesMax
        var job = BackupJob(sources: sources, chunker: chunker)
        job.treeOptions = options
        let protection = try keys.protection(master: try master.key(), time: time)
        return BackupPlan(snapshot: snapshot, job: job, protection: protection)
    }
}

/// A backup that is ready to go, whatever carries it.
private struct BackupPlan: Sendable {
    let snapshot: SnapshotName
    let job: BackupJob
    let protection: ContentProtection

    func run(over transport: any BackupTransport, _ progress: Progress) async throws {
        let upload = SnapshotUpload(snapshot, transport: transport, protection: protection, warn: { progress.note($0) })
        if let time = try await upload.loadPrevious() {
            progress.note("The previous snapshot is of \(BackupTime.text(time))")
        }
        try await run(upload, progress)
    }

    /// Reads and cuts, and talks to nobody.
    func runDry(_ progress: Progress) async throws {
        let upload = SnapshotUpload(
            snapshot, transport: NoTransport(), protection: protection, isDryRun: true, warn: { progress.note($0) })
        try await run(upload, progress)
    }

    private func run(_ upload: SnapshotUpload, _ progress: Progress) async throws {
        let begin = TimeSource.system.nanoseconds()
        let counter = upload.engine.counter
        let marks = Mutex<[ArchiveName: (Int64, UploadStatistics)]>([:])
        let total = expectedBytes(upload)
        try await progress.during({
            let now = counter.current
            return Progress.State(
                done: now.readBytes, total: total, remark: "\(Int(now.knownShare * 100)) % already there")
        }) {
            _ = try await job.run(upload) { event in
                switch event {
                case .began(let source):
                    marks.withLock { $0[source.archive] = (TimeSource.system.nanoseconds(), counter.current) }
                case .ended(let source, let size):
                    let mark = marks.withLock { $0[source.archive] }
                    progress.note(Self.line(source.archive, size: size, since: mark, now: counter.current))
                case .warning(let text): progress.warn(text)
                }
            }
        }
        let seconds = Double(TimeSource.system.nanoseconds() - begin) / 1e9
        let sum = counter.current
        let rate = Int64(Double(sum.readBytes) / max(seconds, 0.001))
        progress.note(
            "\(snapshot): \(ByteSize.text(sum.readBytes)) read in \(Clock.text(seconds)) (\(ByteSize.text(rate))/s), "
                + "\(ByteSize.text(sum.encodedBytes)) sent, \(Int(sum.knownShare * 100)) % already there")
    }

    /// Images have a size, folders probably the one that they had last time.
    private func expectedBytes(_ upload: SnapshotUpload) -> Int64? {
        var sum: Int64 = 0
        for source in job.sources {
            switch source.content {
            case .image(let path): sum += (try? ImageFile(path).byteCount).map { Int64($0) } ?? 0
            case .blob: break
            case .tree, .stream:
                guard let size = upload.previousSize(of: source.archive) else { return nil }
                sum += Int64(clamping: size)
            }
        }
        return sum > 0 ? sum : nil
    }

    private static func line(
        _ archive: ArchiveName, size: UInt64, since mark: (Int64, UploadStatistics)?, now: UploadStatistics
    ) -> String {
        guard archive.kind != .blob, let (begin, before) = mark else { return "\(archive): \(ByteSize.text(size))" }
        let seconds = max(Double(TimeSource.system.nanoseconds() - begin) / 1e9, 0.001)
        let sent = now.sentBytes - before.sentBytes
        let encoded = now.encodedBytes - before.encodedBytes
        return
            "\(archive): \(ByteSize.text(size)) in \(Clock.text(seconds)) (\(ByteSize.text(Int64(Double(size) / seconds)))/s), "
            + "new \(ByteSize.text(sent)), as \(ByteSize.text(encoded))"
    }
}

/// Carries nothing; a dry run never asks it to.
private struct NoTransport: BackupTransport {
    func send(_ request: BackupRequest) async throws -> BackupResponse {
        throw BackupFailure(.internalFault, "a dry run sends nothing")
    }

    func close() async {}
}

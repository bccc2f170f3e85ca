import BackupFormats
import Tasks
import XenAPI

/// A job of type `metadataBackup`: the databases of pools and the configuration of Xen Orchestra, each to every remote.
/// One failure never stops the others. (Spec: xo-proxy §4.8, §5.10, §6.9.)
struct MetadataJob {
    /// A longer dump of a pool fails; it is kept in memory, since several remotes take it.
    static let dumpLimit = 256 << 20

    let context: JobContext

    func run() async throws {
        let settings = try context.levels.resolve()
        let remotes = try SimpleIDPattern.ids(of: context.job["remotes"])
        let pools = try SimpleIDPattern.ids(of: context.job["pools"])
        let configuration = context.job["xoMetadata"].flatMap { $0.isNull ? nil : $0 }
        guard !remotes.isEmpty else {
            throw BackupFailure(.invalidInput, "metadata backup job cannot run without remotes")
        }
        guard !pools.isEmpty || configuration != nil else {
            throw BackupFailure(.invalidInput, "no metadata mode found")
        }
        let poolRetention = pools.isEmpty ? 0 : settings.retentionPoolMetadata
        let configurationRetention = configuration == nil ? 0 : settings.retentionXoMetadata
        guard poolRetention > 0 || configurationRetention > 0 else {
            throw BackupFailure(.invalidInput, "no retentions corresponding to the metadata modes found")
        }
        let repositories = await context.openRemotes(remotes, timeout: settings.remoteTimeout)
        try await ensuring({ for repository in repositories { await repository.close() } }) {
            if !repositories.isEmpty {
                let configuration = configurationRetention > 0 ? configuration : nil
                await back(up: poolRetention > 0 ? pools : [], configuration, settings, repositories)
            }
        }
        try Task.checkCancellation()
    }

    private func back(
        up pools: [String], _ configuration: JSONValue?, _ settings: JobSettings, _ repositories: [any XenRepository]
    ) async {
        let total = Double(pools.count + (configuration == nil ? 0 : 1))
        let slots = Slots(count: settings.concurrency)
        await withTaskGroup(of: Void.self) { group in
            for pool in pools {
                group.addTask {
                    try? await slots.hold { await back(upPool: pool, settings.retentionPoolMetadata, repositories) }
                }
            }
            if let configuration {
                group.addTask { await back(upConfiguration: configuration, settings.retentionXoMetadata, repositories) }
            }
            var done = 0.0
            for await _ in group {
                done += 1
                context.root.progress(done / total)
            }
        }
    }

    // MARK: Parts

    private func back(upPool pool: String, _ retention: Int, _ repositories: [any XenRepository]) async {
        let name = "Starting metadata backup for the pool (\(pool)). (\(context.jobID))"
        let stamp = context.shared.timestamp(of: pool)
        let found: Result<FoundPool, any Error>
        do { found = .success(try await find(pool)) } catch { found = .failure(error) }
        var properties: JSONObject = ["type": "pool", "id": .string(pool)]
        if case .success(let records) = found {
            properties["pool"] = .object(records.pool)
            properties["poolMaster"] = .object(records.master)
        }
        try? await context.root.run(name, properties) { task in
            let records = try found.get()
            let dump = try await dump(records.host)
            var metadata = self.metadata(stamp)
            metadata["pool"] = .object(records.pool)
            metadata["poolMaster"] = .object(records.master)
            try await write(
                MetadataContent(
                    kind: .pool, pool: pool, stamp: stamp, metadata: metadata, dataName: "data", bytes: dump,
                    retention: retention),
                to: repositories, below: task)
        }
    }

    private func back(
        upConfiguration configuration: JSONValue, _ retention: Int, _ repositories: [any XenRepository]
    ) async {
        let stamp = context.shared.timestamp(of: "xo-config")
        let name = "Starting XO metadata backup. (\(context.jobID))"
        try? await context.root.run(name, ["type": "xo"]) { task in
            let (dataName, bytes) = try Self.content(of: configuration)
            var metadata = self.metadata(stamp)
            metadata["data"] = .string("./" + dataName)
            try await write(
                MetadataContent(
                    kind: .orchestra, pool: nil, stamp: stamp, metadata: metadata, dataName: dataName, bytes: bytes,
                    retention: retention),
                to: repositories, below: task)
        }
    }

    /// Text is kept as `data.json`, `{ encoding: "base64", data }` as its bytes in `data`.
    private static func content(of configuration: JSONValue) throws -> (String, [UInt8]) {
        if let text = configuration.stringValue { return ("data.json", Array(text.utf8)) }
        guard configuration["encoding"]?.stringValue == "base64",
            let bytes = configuration["data"]?.stringValue.flatMap({ Base64.decode($0) })
        else { throw BackupFailure(.invalidInput, "xoMetadata must be a text or { encoding: \"base64\", data }") }
        return ("data", bytes)
    }

    private struct FoundPool: Sendable {
        let host: any XenHost
        let pool: JSONObject
        let master: JSONObject
    }

    private func find(_ uuid: String) async throws -> FoundPool {
        let host = try await context.hosts.host(for: uuid)
        let pool = try await host.record("pool", uuid: uuid).fields
        guard let master = XenReference.of(pool["master"]) else {
            return FoundPool(host: host, pool: pool, master: [:])
        }
        return FoundPool(host: host, pool: pool, master: try await host.record("host", master))
    }

    private func dump(_ host: any XenHost) async throws -> [UInt8] {
        let transfer = try await host.exportPoolDatabase()
        return try await ensuring({ await transfer.finish() }) {
            try await transfer.readAll(limit: Self.dumpLimit)
        }
    }

    private func metadata(_ stamp: Int64) -> JSONObject {
        [
            "jobId": .string(context.jobID), "jobName": context.job["name"] ?? "",
            "scheduleId": .string(context.scheduleID), "scheduleName": context.schedule["name"] ?? "",
            "timestamp": .integer(stamp),
        ]
    }

    /// What goes to each remote.
    private struct MetadataContent: Sendable {
        let kind: MetadataKind
        let pool: String?
        let stamp: Int64
        let metadata: JSONObject
        let dataName: String
        let bytes: [UInt8]
        let retention: Int
    }

    /// Writes to every remote, each in a child task of its own.
    private func write(
        _ content: MetadataContent, to repositories: [any XenRepository], below task: TaskNode
    ) async throws {
        await withTaskGroup(of: Void.self) { group in
            for repository in repositories {
                group.addTask {
                    let name =
                        content.kind == .pool
                        ? "Starting metadata backup for the pool (\(content.pool ?? "")) for the remote"
                            + " (\(repository.remoteID)). (\(context.jobID))"
                        : "Starting XO metadata backup for the remote (\(repository.remoteID)). (\(context.jobID))"
                    try? await task.run(name, ["type": "remote", "id": .string(repository.remoteID)]) { _ in
                        try await repository.writeMetadataBackup(
                            MetadataBackup(
                                kind: content.kind, scheduleID: context.scheduleID, poolUUID: content.pool,
                                timestamp: content.stamp, metadata: content.metadata, dataName: content.dataName,
                                data: BytesSource(content.bytes), retention: content.retention))
                    }
                }
            }
        }
        try Task.checkCancellation()
    }
}

extension ByteSource {
    /// All that is left, where it is not too much.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for more than `limit` bytes.
    func readAll(limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try await read(upTo: 1 << 20) {
            guard bytes.count + piece.count <= limit else {
                throw BackupFailure(.invalidInput, "the data is longer than \(limit) bytes")
            }
            bytes += piece
        }
        return bytes
    }
}

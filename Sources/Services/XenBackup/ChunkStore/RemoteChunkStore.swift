import BackupFormats
import BackupProtocol
import BackupServer
import BlobCoding
import Synchronization

/// A datastore of another backup server, by a remote that is configured here. Sessions go over the network; a delta
/// builds on the newest snapshot only, since the protocol on the wire knows no other base.
final class RemoteChunkStore: ChunkStoreConnection {
    /// Reader sessions that listings open at once.
    private static let readersLimit = 4

    let address: ChunkStoreAddress
    let takesAnyBase = false
    private let connect: @Sendable () async throws -> any RemoteConnection
    private let connection = Mutex<(any RemoteConnection)?>(nil)

    /// - Parameter connect: Connects and logs in.
    init(_ address: ChunkStoreAddress, connect: @escaping @Sendable () async throws -> any RemoteConnection) {
        self.address = address
        self.connect = connect
    }

    /// Does something with a connection; one that has ended meanwhile is made anew, once.
    private func with<Value: Sendable>(
        _ body: @Sendable (any RemoteConnection) async throws -> Value
    ) async throws -> Value {
        if let present = connection.withLock({ $0 }) {
            do {
                return try await body(present)
            } catch let failure as BackupFailure where failure.kind == .unavailable {
                let isOurs = connection.withLock { current in
                    guard let now = current, now as AnyObject === present as AnyObject else { return false }
                    current = nil
                    return true
                }
                if isOurs { await present.close() }
            }
        }
        let new = try await connect()
        let older = connection.withLock { current -> (any RemoteConnection)? in
            defer { current = current ?? new }
            return current
        }
        if let older {
            await new.close()
            return try await body(older)
        }
        return try await body(new)
    }

    /// Checks that datastore and namespace are there.
    func probe() async throws {
        _ = try await space()
        _ = try await list(["backup-type": "host"])
    }

    // MARK: Listing

    private var root: String { "/admin/datastore/\(address.datastore)" }

    private func list(_ filter: JSONObject) async throws -> [StoredSnapshot] {
        var parameters = filter
        if !address.namespace.isRoot { parameters["ns"] = .string("\(address.namespace)") }
        let wanted = parameters
        let data = try await with { [root] in try await $0.call("GET", "\(root)/snapshots", wanted) }
        guard let items = data.arrayValue else {
            throw BackupFailure(.corruptData, "the snapshots of \(address.label) are no list")
        }
        return items.compactMap(Self.snapshot).sorted { $0.name < $1.name }
    }

    /// nil for what is not finished or cannot be understood.
    private static func snapshot(_ item: JSONValue) -> StoredSnapshot? {
        guard let type = item["backup-type"]?.stringValue.flatMap(BackupType.init(rawValue:)),
            let group = item["backup-id"]?.stringValue.flatMap({ BackupGroup(type: type, id: $0) }),
            let time = item["backup-time"]?.intValue, let name = SnapshotName(group: group, time: time),
            let size = item["size"], !size.isNull
        else { return nil }
        let files = (item["files"]?.arrayValue ?? []).compactMap { file -> (ArchiveName, Int)? in
            guard let name = file["filename"]?.stringValue.flatMap({ ArchiveName($0) }) else { return nil }
            return (name, Int(clamping: file["size"]?.intValue ?? 0))
        }
        return StoredSnapshot(
            name: name, files: Dictionary(files, uniquingKeysWith: { first, _ in first }),
            isProtected: item["protected"]?.boolValue ?? false)
    }

    func snapshots(_ type: BackupType) async throws -> [StoredSnapshot] {
        try await list(["backup-type": .string(type.rawValue)]).filter { $0.name.group.type == type }
    }

    func snapshots(of group: BackupGroup) async throws -> [StoredSnapshot] {
        do {
            return try await list(["backup-type": .string(group.type.rawValue), "backup-id": .string(group.id)])
                .filter { $0.name.group == group }
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return []
        }
    }

    func blobs(_ wanted: [(snapshot: SnapshotName, archive: ArchiveName)]) async throws -> [[UInt8]?] {
        try await withThrowingTaskGroup(of: (Int, [UInt8]?).self) { group in
            var result = [[UInt8]?](repeating: nil, count: wanted.count)
            var next = 0
            while next < wanted.count {
                if next >= Self.readersLimit, let (place, blob) = try await group.next() { result[place] = blob }
                let (place, item) = (next, wanted[next])
                group.addTask { [self] in (place, try await blob(item.archive, of: item.snapshot)) }
                next += 1
            }
            for try await (place, blob) in group { result[place] = blob }
            return result
        }
    }

    /// nil where the other server has it no more, or refuses to give it.
    private func blob(_ archive: ArchiveName, of snapshot: SnapshotName) async throws -> [UInt8]? {
        do {
            let transport = try await openReader(snapshot)
            let result: [UInt8]?
            do {
                let response = try await transport.send(BackupRequest(.download(name: archive.name)))
                result =
                    response.status == 200
                    ? try await response.collect(limit: BlobLimits.encodedBlob.upperBound) : nil
            } catch {
                await transport.close()
                throw error
            }
            await transport.close()
            return result
        } catch let failure as BackupFailure where failure.kind != .unavailable {
            return nil
        }
    }

    func isSound(_ archive: ArchiveName, of snapshot: SnapshotName) async throws -> Bool {
        guard let blob = try await blob(.manifest, of: snapshot),
            let content = try? BlobDecoder().decode(blob, limit: Manifest.maxByteCount),
            let manifest = try? Manifest(parsing: content)
        else { return false }
        return manifest.verifyState?.outcome != .failed && manifest.file(archive) != nil
    }

    // MARK: Sessions

    private func request(_ snapshot: SnapshotName) -> OpenRequest {
        OpenRequest(datastore: address.datastore, namespace: address.namespace, snapshot: snapshot)
    }

    func openBackup(_ snapshot: SnapshotName, base: SnapshotName?) async throws -> any BackupTransport {
        let request = request(snapshot)
        return try await with { try await $0.open(.backup, request) }
    }

    func openReader(_ snapshot: SnapshotName) async throws -> any BackupTransport {
        let request = request(snapshot)
        return try await with { try await $0.open(.reader, request) }
    }

    func remove(_ snapshot: SnapshotName) async throws {
        var parameters: JSONObject = [
            "backup-type": .string(snapshot.group.type.rawValue), "backup-id": .string(snapshot.group.id),
            "backup-time": .integer(snapshot.time),
        ]
        if !address.namespace.isRoot { parameters["ns"] = .string("\(address.namespace)") }
        let wanted = parameters
        guard try await snapshots(of: snapshot.group).contains(where: { $0.name == snapshot }) else { return }
        _ = try await with { [root] in try await $0.call("DELETE", "\(root)/snapshots", wanted) }
    }

    // MARK: Space

    func space() async throws -> JSONObject {
        let data = try await with { [root] in try await $0.call("GET", "\(root)/status", [:]) }
        var result: JSONObject = [:]
        for (name, member) in [("size", "total"), ("used", "used"), ("available", "avail")] {
            if let value = data[member]?.intValue { result[name] = .integer(value) }
        }
        return result
    }

    /// The other server would have to be asked for every chunk.
    func storedBytes(of snapshots: [StoredSnapshot]) async throws -> UInt64? { nil }

    func close() async {
        let present = connection.withLock { $0.take() }
        await present?.close()
    }
}

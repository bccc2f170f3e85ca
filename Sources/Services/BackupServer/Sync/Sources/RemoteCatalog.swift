import BackupFormats

/// What a remote's datastore holds, by its REST API. (Spec: protocol C.4, C.5; rest E.4.)
struct RemoteCatalog: Sendable {
    let connection: any RemoteConnection
    let store: String
    let patience: Duration

    struct Group: Hashable, Sendable {
        let group: BackupGroup
        let owner: AuthID?
    }

    private var root: String { "/admin/datastore/\(store)" }

    /// A call that fails where it takes too long.
    func call(_ method: String, _ path: String, _ parameters: JSONObject) async throws -> JSONValue {
        let path = root + path
        return try await within(patience) { [connection] in try await connection.call(method, path, parameters) }
    }

    /// Only the start where the remote knows no namespaces.
    func namespaces(below start: Namespace, maxDepth: Int) async throws -> [Namespace] {
        var parameters: JSONObject = ["max-depth": .integer(maxDepth)]
        if !start.isRoot { parameters["parent"] = .string("\(start)") }
        let data: JSONValue
        do {
            data = try await call("GET", "/namespace", parameters)
        } catch let failure as BackupFailure where failure.kind == .notFound && start.isRoot {
            return [start]
        }
        let found = try list(data, "namespaces") { item -> Namespace? in
            guard let text = item["ns"]?.stringValue, let namespace = try? Namespace(parsing: text) else { return nil }
            return namespace
        }
        return found.filter { start.contains($0) && $0.depth - start.depth <= maxDepth }.sorted()
    }

    func groups(in namespace: Namespace) async throws -> [Group] {
        let data = try await call("GET", "/groups", Self.place(namespace))
        return try list(data, "groups") { item -> Group? in
            guard let group = Self.group(item) else { return nil }
            return Group(group: group, owner: item["owner"]?.stringValue.flatMap { AuthID(parsing: $0) })
        }.sorted { $0.group < $1.group }
    }

    func snapshots(of group: BackupGroup, in namespace: Namespace) async throws -> [SourceSnapshot] {
        var parameters = Self.place(namespace)
        parameters["backup-type"] = .string(group.type.rawValue)
        parameters["backup-id"] = .string(group.id)
        let data = try await call("GET", "/snapshots", parameters)
        return try list(data, "snapshots") { item -> SourceSnapshot? in
            guard let found = Self.group(item), let time = item["backup-time"]?.intValue,
                let name = SnapshotName(group: found, time: time)
            else { return nil }
            let files = (item["files"]?.arrayValue ?? []).compactMap { file -> (name: ArchiveName, mode: CryptMode?)? in
                guard let name = file["filename"]?.stringValue.flatMap({ ArchiveName($0) }) else { return nil }
                return (name, file["crypt-mode"]?.stringValue.flatMap { CryptMode(rawValue: $0) })
            }
            let size = item["size"]
            return SourceSnapshot(
                name: name, isFinished: size != nil && size != .null,
                isVerified: item["verification"]?["state"]?.stringValue == "ok",
                isEncrypted: SourceSnapshot.areEncrypted(files))
        }.filter { $0.name.group == group }.sorted { $0.name < $1.name }
    }

    static func place(_ namespace: Namespace) -> JSONObject {
        namespace.isRoot ? [:] : ["ns": .string("\(namespace)")]
    }

    private static func group(_ item: JSONValue) -> BackupGroup? {
        guard let type = item["backup-type"]?.stringValue.flatMap(BackupType.init(rawValue:)),
            let id = item["backup-id"]?.stringValue
        else { return nil }
        return BackupGroup(type: type, id: id)
    }

    /// - Throws: ``BackupFailure`` of kind `corruptData` where an item is not what it should be.
    private func list<Item>(_ data: JSONValue, _ what: String, _ read: (JSONValue) -> Item?) throws -> [Item] {
        guard let items = data.arrayValue else {
            throw BackupFailure(.corruptData, "The remote's list of \(what) of datastore '\(store)' is none")
        }
        return try items.map { item in
            guard let value = read(item) else {
                throw BackupFailure(
                    .corruptData, "The remote's list of \(what) of datastore '\(store)' has an item that cannot be read"
                )
            }
            return value
        }
    }
}

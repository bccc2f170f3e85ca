import BackupFormats

/// What members of a hub do, in the form of the hub's own tasks.
enum PeerTasks {
    private static let most = 10_000

    /// The server's own tasks and the operations of its members, newest first.
    static func merge(
        _ own: [JSONValue], limit: Int, all: Bool, of server: RemoteServer
    ) async throws -> [JSONValue] {
        let operations = try await server.call(
            "GET", "\(Peers.path)/operations", ["limit": .integer(limit > 0 ? min(limit, most) : most)],
            trying: "The operations of the members cannot be listed")
        let foreign = (operations.arrayValue ?? []).filter { all || $0["endtime"] == nil }.map(task)
        let merged = (own + foreign).sorted { start($0) > start($1) }
        return limit > 0 ? Array(merged.prefix(limit)) : merged
    }

    private static func start(_ task: JSONValue) -> Int64 { task["starttime"]?.intValue ?? 0 }

    /// An operation has no UPID: `peer operations` and `peer log` know it by its number.
    private static func task(_ operation: JSONValue) -> JSONValue {
        var task: JSONObject = [:]
        task["node"] = operation["instance"]
        task["worker_type"] = operation["kind"]
        task["worker_id"] = operation["plan"]
        task["starttime"] = operation["starttime"]
        task["endtime"] = operation["endtime"]
        task["status"] = operation["status"]
        task["operation"] = operation["id"]
        return .object(task)
    }
}

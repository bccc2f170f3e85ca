import BackupFormats
import Platform

/// The trees on the disk: one JSON file a root, as ``TaskTrees`` shows it. While the tree grows the file is called
/// `ID.running`, afterwards `ID.json`; what is found running at a start was interrupted.
struct TaskTreeFolder: Sendable {
    /// A tree that takes more is kept in memory only while it runs.
    static let maxFileLength = 256 << 20

    let path: String

    private func ended(_ id: String) -> String { "\(path)/\(id).json" }
    private func running(_ id: String) -> String { "\(path)/\(id).running" }

    /// Ids of the trees that have ended, oldest first. Those that were running are closed as interrupted at `now`,
    /// Unix milliseconds.
    func open(now: Int64, warn: (String) -> Void) throws -> [String] {
        try FileSystem.makeFolders(path, mode: 0o700)
        for name in try FileSystem.list(path) where name.hasSuffix(".running") {
            let id = String(name.dropLast(".running".count))
            do { try close(id, now: now) } catch { warn("\(name) cannot be closed: \(error)") }
        }
        return try FileSystem.list(path).compactMap { name in
            guard name.hasSuffix(".json") else { return nil }
            let id = String(name.dropLast(".json".count))
            return TaskIDs.time(of: id) == nil ? nil : id
        }
    }

    private func close(_ id: String, now: Int64) throws {
        defer { _ = try? FileSystem.removeFile(running(id)) }
        guard try !FileSystem.exists(ended(id)), TaskIDs.time(of: id) != nil else { return }
        guard case .object(let task) = try JSONValue(parsing: FileSystem.read(running(id), limit: Self.maxFileLength))
        else { return }
        try write(.object(Self.interrupted(task, now: now)), id, isEnded: true)
    }

    /// The task with everything that was pending marked as interrupted.
    private static func interrupted(_ task: JSONObject, now: Int64) -> JSONObject {
        var task = task
        if task["status"]?.stringValue == TaskTreeStatus.pending.rawValue {
            task["status"] = .string(TaskTreeStatus.interrupted.rawValue)
            task["end"] = .integer(max(now, task["start"]?.intValue ?? now))
        }
        if let children = task["tasks"]?.arrayValue {
            task["tasks"] = .array(
                children.map { child in child.objectValue.map { .object(interrupted($0, now: now)) } ?? child })
        }
        return task
    }

    /// Replaces the file in one step.
    func write(_ task: JSONValue, _ id: String, isEnded: Bool) throws {
        let bytes = Array(task.compactText.utf8)
        try AtomicFile.replace(isEnded ? ended(id) : running(id), with: bytes, mode: 0o600, isSynced: isEnded)
        if isEnded { try FileSystem.removeFile(running(id)) }
    }

    /// The file of an ended tree; nil where there is none.
    func read(_ id: String) throws -> [UInt8]? {
        do {
            return try FileSystem.readIfPresent(ended(id), limit: Self.maxFileLength)
        } catch {
            throw error.failure("The log of task \(id) cannot be read")
        }
    }

    func remove(_ id: String) throws {
        try FileSystem.removeFile(ended(id))
        try FileSystem.removeFile(running(id))
    }
}

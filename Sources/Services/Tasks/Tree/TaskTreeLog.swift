import BackupFormats

/// A tree's events as lines for people, in the log that every task has.
enum TaskTreeLog {
    /// Longer data is cut.
    private static let maxDataLength = 500

    /// Writes the line of an event that `fold` has taken in.
    static func write(_ event: TaskEvent, of fold: TaskFold, to task: RunningTask) {
        let place = place(of: event.taskID, in: fold)
        switch event.kind {
        case .start: task.log("\(place): started")
        case .property(let name, let value):
            if event.taskID == fold.root, name == "progress", let percent = value.doubleValue {
                task.setProgress(percent / 100)
            }
        case .info(let message, let data): task.log("\(place): \(message)\(text(data))")
        case .warning(let message, let data): task.warn("\(place): \(message)\(text(data))")
        case .abortionRequested(let reason): task.log("\(place): asked to end: \(reason)")
        case .end(true, let result): task.log("\(place): done\(text(result))")
        case .end(false, let result): task.log("\(place): failed: \(message(result))")
        }
    }

    /// How the whole has ended, for the list of all tasks.
    static func outcome(_ fold: TaskFold) -> TaskOutcome {
        let root = fold.records[fold.root]
        switch fold.status(of: fold.root) {
        case .success, .pending: return .ok
        case .interrupted: return .error(TaskStatus.interrupted)
        case .canceled: return .error("canceled")
        case .skipped where root?.isSuccess == true: return .ok
        case .failure, .skipped:
            guard let root, root.isSuccess else { return .error(message(root?.result)) }
            let failed = firstFailure(below: fold.root, in: fold)
            return .error(failed.map { "\(place(of: $0, in: fold)): \(message(fold.records[$0]?.result))" } ?? "failed")
        }
    }

    /// The deepest first one that failed.
    private static func firstFailure(below id: String, in fold: TaskFold) -> String? {
        for child in fold.records[id]?.children ?? [] where [.failure, .canceled].contains(fold.status(of: child)) {
            return firstFailure(below: child, in: fold) ?? child
        }
        return nil
    }

    private static func message(_ result: JSONValue?) -> String {
        result?["message"]?.stringValue ?? "without a reason"
    }

    private static func text(_ data: JSONValue?) -> String {
        guard let data, !data.isNull else { return "" }
        let text = data.stringValue ?? data.compactText
        return " " + (text.utf8.count > maxDataLength ? String(text.prefix(maxDataLength)) + "…" : text)
    }

    /// `backup VM web1 / export remote1 / transfer`: the names from the root's children down.
    private static func place(of id: String, in fold: TaskFold) -> String {
        var names: [String] = []
        var next: String? = id
        while let id = next, let record = fold.records[id] {
            if record.parent != nil || names.isEmpty {
                let label = record.properties["name_label"]?.stringValue ?? record.properties["id"]?.stringValue
                names.append(
                    record.parent == nil ? record.name : [record.name, label].compactMap { $0 }.joined(separator: " "))
            }
            next = record.parent
        }
        return names.reversed().joined(separator: " / ")
    }
}

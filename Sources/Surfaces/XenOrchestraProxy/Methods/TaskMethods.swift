import BackupFormats
import Tasks
import XenBackup

extension Methods {
    private static let taskID: ParameterList = [.required("taskId", .string(minLength: 1))]
    /// Seconds that a caller of `event.from` may wait.
    private static let maxWait = 300.0

    private static func id(_ parameters: JSONObject) -> String { parameters["taskId"]?.stringValue ?? "" }

    static let tasks: [Method] = [
        Method(
            name: "task.getAll", description: "All root tasks with what is below them, newest first.",
            parameters: [.optional("limit", .integer(minimum: 0)), .optional("filter", .any)],
            result: ResultForm.list(of: "object")
        ) { parameters, services in
            try await all(parameters, services.trees)
        },
        Method(
            name: "task.get", description: "One task with what is below it.", parameters: taskID,
            result: ResultForm.object
        ) { parameters, services in .value(.object(try await services.trees.task(id(parameters)))) },
        Method(
            name: "task.cancel", description: "Asks a pending task to end, and all below it; does not wait for it.",
            parameters: taskID, result: ResultForm.done
        ) { parameters, services in
            try await services.trees.cancel(id(parameters))
            return .done
        },
        Method(
            name: "task.destroy", description: "Removes an ended root task from the log.", parameters: taskID,
            result: ResultForm.done
        ) { parameters, services in
            try await services.trees.destroy(id(parameters))
            return .done
        },
        Method(
            name: "event.from",
            description: "What has happened to tasks since the token; waits for something so many seconds.",
            parameters: [.optional("token", .string(), ""), .optional("timeout", .number(minimum: 0), 30)],
            result: ResultForm.object, isWait: true
        ) { parameters, services in
            let seconds = min(maxWait, max(0, parameters["timeout"]?.doubleValue ?? 0))
            return .value(
                .object(
                    try await services.trees.events(
                        since: parameters["token"]?.stringValue ?? "", atMost: .seconds(seconds))))
        },
    ]

    /// Tasks are read when their line is sent; with a filter, all that match are found before the first line, so that
    /// the caller sees signs of life meanwhile.
    private static func all(_ parameters: JSONObject, _ trees: TaskTrees) async throws -> Outcome {
        let limit = parameters["limit"]?.wholeNumber ?? .max
        var entries = try await trees.all()
        if let filter = parameters["filter"] {
            let pattern = Pattern(filter)
            var found: [TaskTrees.Entry] = []
            for entry in entries where found.count < limit {
                if let task = try await trees.task(entry), pattern.matches(.object(task)) { found.append(entry) }
            }
            entries = found
        }
        let cursor = ListCursor(Array(entries.prefix(limit)))
        return .list {
            while let entry = cursor.next() {
                if let task = try await trees.task(entry) { return .object(task) }
            }
            return nil
        }
    }
}

import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol

struct TaskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "task", abstract: "Tasks of the server.",
        subcommands: [TaskList.self, TaskLogCommand.self, TaskStop.self])
}

struct TaskList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists tasks, newest first.")

    @Option(help: "So many at most; 0 for all.") var limit = 50
    @Flag(help: "Finished ones as well as running ones.") var all = false
    @Flag(help: "Also what members of this hub do, with their names.") var allPeers = false
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var output: OutputOptions

    mutating func run() async throws {
        let (limit, all, allPeers) = (limit, all, allPeers)
        let tasks = try await repository.withServer(anyStore: { server, datastore in
            var parameters: JSONObject = ["limit": .integer(limit)]
            if let datastore { parameters["store"] = .string(datastore) }
            if !all { parameters["running"] = true }
            let own = try await server.call(
                "GET", "/nodes/localhost/tasks", parameters,
                trying: "The tasks of \(server.address) cannot be listed")
            guard allPeers else { return own.arrayValue ?? [] }
            return try await PeerTasks.merge(own.arrayValue ?? [], limit: limit, all: all, of: server)
        })
        output.write(
            tasks,
            columns: [
                .time("started", member: "starttime"), .time("ended", member: "endtime"),
            ] + (allPeers ? [Column("machine", member: "node")] : []) + [
                Column("type", member: "worker_type"), Column("object", member: "worker_id"),
                Column("user", member: "user"),
                Column("status") { $0["endtime"] == nil ? "running" : Column.text($0["status"]) },
                Column("upid", member: "upid"),
            ])
    }
}

struct TaskLogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Shows the log of a task, and follows it until the task ends.")

    @Argument(help: ArgumentHelp("The id of the task.", valueName: "upid")) var upid: String
    @OptionGroup var repository: RepositoryOptions

    mutating func run() async throws {
        let upid = upid
        try await repository.withServer(anyStore: { server, _ in try await TaskLog.follow(upid, on: server) })
    }
}

struct TaskStop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "stop", abstract: "Stops a task.")

    @Argument(help: ArgumentHelp("The id of the task.", valueName: "upid")) var upid: String
    @OptionGroup var repository: RepositoryOptions

    mutating func run() async throws {
        let upid = upid
        try await repository.withServer(anyStore: { server, _ in
            try await server.call("DELETE", TaskLog.path(upid), trying: "The task cannot be stopped")
        })
    }
}

/// Logs of tasks as the stock client reads them: in pages, every second, at first more often. (Spec: rest E.8.)
enum TaskLog {
    private static let pageLines: Int64 = 500
    private static let shortestPause = Duration.milliseconds(50)
    private static let longestPause = Duration.seconds(1)

    static func path(_ upid: String) -> String { "/nodes/localhost/tasks/\(FormText.encode(upid))" }

    /// Writes the lines to standard output until the task has ended.
    static func follow(_ upid: String, on server: RemoteServer) async throws {
        var next: Int64 = 1
        var pause = shortestPause
        while true {
            let answer = try await server.answer(
                "GET", path(upid) + "/log",
                ["start": .integer(next), "limit": .integer(pageLines), "test-status": true],
                trying: "The log of the task cannot be read")
            let lines = (answer["data"]?.arrayValue ?? []).filter { ($0["n"]?.intValue ?? 0) >= next }
            for line in lines { Output.line(line["t"]?.stringValue ?? "") }
            next += Int64(lines.count)
            if Int64(lines.count) < pageLines {
                if answer["active"]?.boolValue != true { return }
                try await Task.sleep(for: pause)
                pause = min(pause * 2, longestPause)
            }
        }
    }

    /// Shows a task that a call has started until it ends: people see its log, programs get its last status.
    ///
    /// - Throws: ``BackupFailure`` with the task's own error.
    static func show(_ upid: JSONValue, on server: RemoteServer, as output: OutputOptions, trying: String) async throws
    {
        guard let upid = upid.stringValue else {
            throw BackupFailure(.corruptData, "\(trying): the answer names no task")
        }
        if output.isText { try await follow(upid, on: server) }
        let status = try await end(of: upid, on: server, trying: trying)
        if !output.isText { output.write(status) { _ in "" } }
        try check(status, trying: trying)
    }

    /// Waits for a task that a call has started.
    ///
    /// - Throws: ``BackupFailure`` with the task's own error.
    static func wait(for upid: String, on server: RemoteServer, trying: String) async throws {
        try check(try await end(of: upid, on: server, trying: trying), trying: trying)
    }

    private static func end(of upid: String, on server: RemoteServer, trying: String) async throws -> JSONValue {
        while true {
            let status = try await server.call("GET", path(upid) + "/status", trying: trying)
            if status["status"]?.stringValue == "stopped" { return status }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private static func check(_ status: JSONValue, trying: String) throws {
        let result = status["exitstatus"]?.stringValue ?? "unknown"
        guard result == "OK" || result.hasPrefix("WARNINGS") else {
            throw BackupFailure(.internalFault, trying, cause: BackupFailure(.internalFault, result))
        }
    }
}

import BackupFormats
import Platform
import StateDatabase
import Testing

@testable import Tasks

@Suite("A task")
struct TaskTests {
    @Test("has an id of its own that says what it does")
    func id() throws {
        let setting = try TaskSetting()
        let (first, second) = (try setting.start(), try setting.start())
        #expect(
            first.upid.description
                == #"UPID:host1:00000007:00001A2B:00000000:665A6480:backup:s1\x3ahost-web:u@pbs:"#)
        #expect(second.upid != first.upid)
        first.finish()
        second.finish()
    }

    @Test("writes lines with a time of 25 characters, and how it ended as the last one")
    func log() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        task.log("one")
        setting.clock.move(by: 61)
        task.log("two\nlines\twith\u{1b}control")
        task.finish()
        task.log("too late")
        await task.waitUntilStopped()
        #expect(
            try setting.lines(task.upid) == [
                "2024-06-01T00:00:00+00:00: one", "2024-06-01T00:01:01+00:00: two",
                "2024-06-01T00:01:01+00:00: lines with control", "2024-06-01T00:01:01+00:00: TASK OK",
            ])
        let path = "\(setting.folder.path)/tasks/2B/\(task.upid)"
        #expect(try FileSystem.status(path)?.mode == 0o600)
        #expect(try setting.registry.wholeLog(task.upid)?.last == UInt8(ascii: "\n"))
    }

    @Test(
        "ends as OK, with warnings, or with its error",
        arguments: [
            (TaskOutcome.ok, 0, "OK", "TASK OK"), (.ok, 2, "WARNINGS: 2", "TASK WARNINGS: 2"),
            (.error("no room\nleft"), 1, "no room left", "TASK ERROR: no room left"),
        ])
    func ends(outcome: TaskOutcome, warnings: Int, status: String, lastLine: String) async throws {
        let setting = try TaskSetting()
        let upid = try await setting.end(outcome: outcome, warnings: warnings)
        let info = try #require(try setting.registry.info(upid))
        #expect(info.status == status && info.endTime == setting.clock.seconds && !info.isRunning)
        #expect(try setting.lines(upid).last?.hasSuffix(": \(lastLine)") == true)
        #expect(try setting.lines(upid).count == warnings + 1)
    }

    @Test("shows itself while it runs")
    func running() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        task.setProgress(0.25)
        let info = try #require(try setting.registry.info(task.upid))
        #expect(info.isRunning && info.progress == 0.25 && info.status == nil)
        #expect(try setting.registry.log(task.upid, start: 1, limit: 500)?.isActive == true)
        task.finish()
        await setting.registry.waitUntilStopped(task.upid)
        #expect(try setting.registry.log(task.upid, start: 1, limit: 500)?.isActive == false)
        #expect(setting.registry.running(task.upid) == nil)
    }

    @Test("that is aborted ends as aborted, or well where it was too late")
    func abort() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        task.onAbort { task.finish(.error("connection closed")) }
        #expect(setting.registry.abort(task.upid))
        await task.waitUntilStopped()
        #expect(try setting.registry.info(task.upid)?.status == "task aborted")
        #expect(!setting.registry.abort(task.upid))

        let late = try setting.start()
        setting.registry.abort(late.upid)
        #expect(late.isAborted)
        #expect(throws: BackupFailure.self) { try late.checkAborted() }
        late.finish()
        await late.waitUntilStopped()
        #expect(try setting.registry.info(late.upid)?.status == "OK")
    }

    @Test("that is withdrawn has never been")
    func withdrawn() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        task.log("one")
        task.withdraw()
        task.finish(.error("too late"))
        #expect(try setting.list().isEmpty)
        await task.waitUntilStopped()
        #expect(try setting.list().isEmpty)
        #expect(try setting.registry.info(task.upid) == nil)
        #expect(try setting.registry.wholeLog(task.upid) == nil)
    }

    @Test("calls a handler that comes after the abort")
    func lateHandler() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        setting.registry.abort(task.upid)
        task.onAbort { task.finish(.error("x")) }
        await task.waitUntilStopped()
        #expect(try setting.registry.info(task.upid)?.status == "task aborted")
    }

    @Test("runs work whose failure is its own, and cancels it when aborted")
    func work() async throws {
        let setting = try TaskSetting()
        let owner = try #require(AuthID(parsing: "u@pbs"))
        let good = setting.registry.run("prune", id: nil, owner: owner) { $0.log("busy") }
        let bad = setting.registry.run("prune", id: nil, owner: owner) { _ in
            throw BackupFailure(.conflict, "it is locked")
        }
        let long = setting.registry.run("prune", id: nil, owner: owner) { _ in try await Task.sleep(for: .seconds(60)) }
        setting.registry.abort(long)
        for upid in [good, bad, long] { await setting.registry.waitUntilStopped(upid) }
        #expect(
            try [good, bad, long].map { try setting.registry.info($0)?.status } == [
                "OK", "it is locked", "task aborted",
            ])
    }

    @Test("never waits for the disk: lines that come too fast are counted, and the last one is there")
    func flood() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        let text = String(repeating: "x", count: 4096)
        for _ in 0..<500 { task.log(text) }
        task.finish()
        await task.waitUntilStopped()
        let lines = try setting.lines(task.upid)
        let dropped = lines.compactMap { $0.firstMatch(of: /: \[(\d+) lines left out\]$/).flatMap { Int($0.1) } }
            .reduce(0, +)
        let markers = lines.count { $0.contains("lines left out") }
        #expect(lines.count - markers - 1 + dropped == 500)
        #expect(lines.last?.hasSuffix(": TASK OK") == true)
    }

    @Test("with a name that is too long for a file still has a log")
    func longName() async throws {
        let setting = try TaskSetting()
        let upid = try await setting.end("backup", "s1:" + String(repeating: "ns/a-b-c/", count: 80))
        #expect(upid.description.utf8.count > 255)
        #expect(try setting.lines(upid).count == 1)
        #expect(try setting.registry.info(UPID(parsing: upid.description))?.status == "OK")
        // The cut name of the file gives no access to it under another owner's id.
        let forged = try UPID(parsing: upid.description.replacing("u@pbs", with: "evil@pbs"))
        #expect(try setting.registry.log(forged, start: 1, limit: 0) == nil)
        #expect(try setting.registry.wholeLog(forged) == nil)
    }

    @Test("takes any name and any owner")
    func extremes() async throws {
        let setting = try TaskSetting()
        let owner = String(repeating: "\u{1F600}", count: 60) + "@pbs"
        let ids = [String(repeating: "-", count: 5000), "", ".", "/", ":", "\u{0}", String(repeating: "é", count: 300)]
        for id in ids {
            let upid = try await setting.end("backup", id, owner: owner)
            #expect(try UPID(parsing: upid.description) == upid)
            #expect(try setting.lines(upid).count == 1)
        }
        #expect(try setting.list().count == ids.count)
    }

    @Test("that the server left behind when it died is closed as interrupted")
    func crash() async throws {
        let setting = try TaskSetting()
        let upid = try #require(
            UPID(
                node: "host1", pid: 6, processStart: 0x99, taskID: 3, startTime: 1_717_100_000, workerType: "backup",
                workerID: "s1:host/web", authID: .root))
        try await setting.database.write { state in
            try state.put(
                TaskRecord(
                    upid: upid.description, startTime: upid.startTime, workerType: "backup", workerID: "s1:host/web",
                    owner: "root@pam"))
        }
        try FileSystem.makeFolders("\(setting.folder.path)/tasks/99", mode: 0o700)
        try AtomicFile.replace(
            "\(setting.folder.path)/tasks/99/\(upid)", with: Array("2024-05-31T00:00:00+00:00: one\n2024-05-31T00".utf8)
        )
        await setting.registry.shutDown()
        let registry = try TaskSetting.open(setting.database, pid: 8, setting.clock)
        #expect(try registry.info(upid)?.status == TaskStatus.interrupted)
        let log = try #require(try registry.log(upid, start: 1, limit: 0))
        #expect(log.total == 3 && !log.isActive)
        #expect(log.lines.last?.text == "2024-06-01T00:00:00+00:00: TASK ERROR: \(TaskStatus.interrupted)")
        #expect(try await setting.database.read { try $0.unfinishedTasks().isEmpty })
    }

    @Test("ends with the server")
    func shutDown() async throws {
        let setting = try TaskSetting()
        let (deaf, good) = (try setting.start(), try setting.start())
        good.onAbort { good.finish(.error("stopping")) }
        await setting.registry.shutDown(patience: .milliseconds(50))
        #expect(try setting.registry.info(good.upid)?.status == "task aborted")
        #expect(try setting.registry.info(deaf.upid)?.status == "task aborted")
    }
}

@Suite("A log of a task")
struct TaskLogTests {
    @Test("is read in pages that follow one another, from line 1")
    func pages() async throws {
        let setting = try TaskSetting()
        let task = try setting.start()
        for number in 1...24 { task.log("line \(number)") }
        task.finish()
        await task.waitUntilStopped()
        func page(_ start: Int, _ limit: Int) throws -> [Int] {
            let page = try #require(try setting.registry.log(task.upid, start: start, limit: limit))
            #expect(page.total == 25)
            return page.lines.map(\.number)
        }
        #expect(try page(1, 10) == Array(1...10))
        #expect(try page(0, 10) == Array(1...10))
        #expect(try page(11, 10) == Array(11...20))
        #expect(try page(21, 10) == Array(21...25))
        #expect(try page(26, 10) == [])
        #expect(try page(1, 0) == Array(1...25))
        #expect(try page(Int.max, Int.max) == [])
    }

    @Test("of an unknown task is not there")
    func unknown() throws {
        let setting = try TaskSetting()
        let upid = try UPID(parsing: "UPID:host1:00000001:00000002:00000003:665A6480:backup:x:u@pbs:")
        #expect(try setting.registry.log(upid, start: 1, limit: 50) == nil)
        #expect(try setting.registry.info(upid) == nil)
        #expect(try setting.registry.wholeLog(upid) == nil)
    }
}

@Suite("The list of tasks")
struct TaskListTests {
    @Test("has the newest first, running ones among the others")
    func order() async throws {
        let setting = try TaskSetting()
        _ = try await setting.end("backup", "s1:1")
        setting.clock.move(by: 10)
        let running = try setting.start("backup", "s1:2")
        setting.clock.move(by: 10)
        _ = try await setting.end("backup", "s1:3")
        _ = try await setting.end("backup", "s1:4")
        #expect(try setting.list() == ["s1:4", "s1:3", "s1:2", "s1:1"])
        running.finish()
        await running.waitUntilStopped()
        #expect(try setting.list() == ["s1:4", "s1:3", "s1:2", "s1:1"])
    }

    @Test("is cut by start and limit, and tells whether more follows")
    func pages() async throws {
        let setting = try TaskSetting()
        for number in 0..<5 { _ = try await setting.end("backup", "s1:\(number)") }
        func page(_ start: Int, _ limit: Int) throws -> (count: Int, total: Int) {
            let page = try setting.registry.list(TaskFilter(start: start, limit: limit)) { _ in true }
            return (page.tasks.count, page.total)
        }
        #expect(try page(0, 2) == (2, 3))
        #expect(try page(2, 2) == (2, 5))
        #expect(try page(4, 2) == (1, 5))
        #expect(try page(0, 0) == (5, 5))
        #expect(try page(0, 5) == (5, 5))
    }

    @Test("is filtered")
    func filters() async throws {
        let setting = try TaskSetting()
        let begin = setting.clock.seconds
        _ = try await setting.end("backup", "s1:ok", owner: "u@pbs")
        _ = try await setting.end("backup", "s1:warn", owner: "u@pbs!t", warnings: 1)
        _ = try await setting.end("garbage_collection", "s2", owner: "root@pam", outcome: .error("no"))
        setting.clock.move(by: 100)
        let running = try setting.start("verify", "s2:run", owner: "v@pbs")
        func list(_ change: (inout TaskFilter) -> Void) throws -> Set<String?> {
            var filter = TaskFilter()
            change(&filter)
            return Set(try setting.list(filter))
        }
        #expect(try list { _ in } == ["s1:ok", "s1:warn", "s2", "s2:run"])
        #expect(try list { $0.isRunningOnly = true } == ["s2:run"])
        #expect(try list { $0.isErrorsOnly = true } == ["s1:warn", "s2"])
        #expect(try list { $0.userPart = "u@pb" } == ["s1:ok", "s1:warn"])
        #expect(try list { $0.typePart = "ack" } == ["s1:ok", "s1:warn"])
        #expect(try list { $0.store = "s2" } == ["s2", "s2:run"])
        #expect(try list { $0.store = "s" } == [])
        #expect(try list { $0.since = begin + 1 } == ["s2:run"])
        #expect(try list { $0.until = begin } == ["s1:ok", "s1:warn", "s2"])
        #expect(try list { $0.statuses = [.ok] } == ["s1:ok"])
        #expect(try list { $0.statuses = [.warning, .error] } == ["s1:warn", "s2"])
        #expect(try list { $0.statuses = [.unknown] } == [])
        let visible = try setting.registry.list(TaskFilter()) { $0.owner.user.description == "u@pbs" }
        #expect(visible.tasks.count == 2 && visible.total == 2)
        running.finish()
    }

    @Test("belongs to one server at a time, and survives a restart")
    func restart() async throws {
        let setting = try TaskSetting()
        let upid = try await setting.end(outcome: .error("no"))
        let failure = #expect(throws: BackupFailure.self) {
            try TaskSetting.open(setting.database, pid: 8, setting.clock)
        }
        #expect(failure?.kind == .conflict)
        await setting.registry.shutDown()
        let registry = try TaskSetting.open(setting.database, pid: 8, setting.clock)
        #expect(try registry.info(upid)?.status == "no")
        #expect(try registry.list(TaskFilter()) { _ in true }.tasks.map(\.upid) == [upid])
    }
}

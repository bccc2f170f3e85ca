import BackupFormats
import ManagementAPI
import Tasks
import Testing

@testable import XenOrchestraProxy

@Suite("The proxy's methods")
struct MethodTests {
    let setting: ProxySetting

    init() throws { setting = try ProxySetting() }

    /// Those of the contract, and those that callers rely on.
    static let names = [
        "system.listMethods", "system.methodSignature", "event.from", "backup.importVmBackup",
        "backup.listPoolMetadataBackups", "backup.listVmBackups", "backup.listXoMetadataBackups", "backup.run",
        "backup.restoreMetadataBackup", "task.cancel", "task.destroy", "task.get", "task.getAll", "remote.test",
        "system.getMethodsInfo", "system.getServerVersion", "authentication.setToken", "backup.listRunningJobs",
        "backup.deleteVmBackups", "backup.deleteVmBackup", "backup.deleteMetadataBackup", "remote.ping",
        "remote.getInfo", "remote.getTotalBackupSize", "appliance.getInfo", "appliance.updater.getState", "test.range",
        "test.throw",
    ]

    @Test("are all listed, with their signatures")
    func listed() async throws {
        #expect(try await setting.items("system.listMethods", nil).map(\.stringValue) == Self.names.sorted())
        let infos = try await setting.items("system.getMethodsInfo")
        #expect(infos.count == Self.names.count)
        for name in Self.names {
            for parameter in ["name", "method"] {
                let signature = try await setting.value("system.methodSignature", [parameter: .string(name)])
                #expect(signature["name"] == .string(name))
                #expect(signature["params"]?.objectValue != nil && signature["result"]?.objectValue != nil)
            }
        }
        let unknown = try await setting.error("system.methodSignature", ["name": "x"])
        #expect(unknown["code"] == 1 && unknown["data"] == ["id": "x", "type": "method"])
        #expect(try await setting.error("system.methodSignature")["code"] == 10)
    }

    @Test("count and fail for tests")
    func tests() async throws {
        #expect(try await setting.items("test.range", ["stop": 3]) == [0, 1, 2])
        #expect(try await setting.items("test.range", ["start": 2, "stop": 0]) == [2, 1])
        #expect(try await setting.items("test.range", ["stop": 0]).isEmpty)
        #expect(
            try await setting.items("test.range", ["stop": 1, "step": .number("0.5")]).map(\.doubleValue) == [0, 0.5])
        #expect(try await setting.items("test.range", ["stop": 20000]).count == 20000)
        #expect(try await setting.error("test.range", ["stop": 1, "step": 0])["code"] == -32000)
        let thrown = try await setting.error("test.throw", ["message": "boom"])
        #expect(thrown["code"] == -32000 && thrown["message"] == "boom")
    }

    @Test("never answer null")
    func nothing() async throws {
        #expect(try await setting.value("authentication.setToken", ["token": .string(setting.token)]) == true)
        #expect(try await setting.value("backup.deleteMetadataBackup", ["backupId": "/x", "remote": [:]]) == true)
        #expect(try await setting.value("backup.deleteVmBackup", ["filename": "/x", "remote": [:]]) == true)
    }

    @Test("replace the token at once")
    func setToken() async throws {
        let old = try setting.token
        #expect(try await setting.value("authentication.setToken", ["token": "new one"]) == true)
        #expect(try await setting.send("{}", cookie: "authenticationToken=\(old)").status == 401)
        #expect(try await setting.send("{}", cookie: "authenticationToken=new%20one").status == 200)
        for bad in ["", "a\nb", " a", String(repeating: "x", count: 2000)] {
            #expect(try await setting.error("authentication.setToken", ["token": .string(bad)])["code"] == 10)
        }
    }

    @Test("run a job and stream its log in the words of both generations of callers")
    func runWithLog() async throws {
        let log = try await setting.items("backup.run", ProxySetting.job("quick"))
        #expect(
            log.map { "\($0["type"]?.stringValue ?? "") \($0["message"]?.stringValue ?? "")" } == [
                "start backup run", "info vms", "start backup VM", "start export", "start transfer", "end ", "end ",
                "end ", "end ",
            ])
        for item in log {
            #expect(item["type"] == item["event"] && item["id"] == item["taskId"])
        }
        #expect(log[0]["properties"]?["jobId"] == "job-1" && log[0]["data"]?["jobId"] == "job-1")
        #expect(log[0]["properties"]?["name"] == "backup run" && log[0]["data"]?["name"] == nil)
        #expect(log[2]["parentId"] == log[0]["id"])
        #expect(log[5]["result"] == ["size": 1024])
    }

    @Test("tell progress to those callers who are known to understand it")
    func progress() async throws {
        let modern = ProxySetting.job("quick", more: ["jobData": ["key": "k", "runJobId": "r"]])
        let log = try await setting.items("backup.run", modern)
        let property = try #require(log.first { $0["type"] == "property" })
        #expect(property["event"] == nil && property["value"] == 40)
        #expect(log[0]["properties"] == ["name": "backup run", "key": "k", "runJobId": "r"])
    }

    @Test("run a job and answer with its task when no log is wanted")
    func runWithoutLog() async throws {
        let id = try #require(try await setting.value("backup.run", ProxySetting.job("quick", log: false)).stringValue)
        #expect(try await setting.value("task.get", ["taskId": .string(id)])["status"] == "success")
        let error = try await setting.error("backup.run", ProxySetting.job("fail", log: false))
        #expect(error["code"] == -32000 && error["message"] == "the job failed")
    }

    @Test("tell a failed machine as success of the root and failure of its task")
    func failedMachine() async throws {
        let log = try await setting.items("backup.run", ProxySetting.job("part"))
        #expect(log.last?["status"] == "success")
        #expect(log.contains { $0["result"]?["code"] == "ENOSPC" })
        let id = try #require(log[0]["id"])
        #expect(try await setting.value("task.get", ["taskId": id])["status"] == "failure")
        let whole = try await setting.items("backup.run", ProxySetting.job("fail"))
        #expect(whole.last?["status"] == "failure" && whole.last?["result"]?["message"] == "the job failed")
    }

    @Test("refuse a second run of a job and wrong jobs before the log begins")
    func refused() async throws {
        let body: JSONValue = ["id": 1, "method": "backup.run", "params": ProxySetting.job("hold")]
        let first = try await setting.send(body.compactText)
        let error = try await setting.error("backup.run", ProxySetting.job("hold"))
        #expect(error["message"] == "job is already running" && error["data"] == ["jobId": "job-1"])
        #expect(try await setting.items("backup.listRunningJobs") == ["job-1"])
        setting.xen.release()
        #expect(try await setting.lines(first).last?["type"] == "end")
        #expect(try await setting.items("backup.listRunningJobs").isEmpty)
        let wrong = try await setting.error(
            "backup.run",
            [
                "job": ["id": "m", "type": "mirrorBackup"], "remotes": [:], "schedule": [:], "streamLogs": true,
            ])
        #expect(wrong["message"] == "No runner for the backup type mirrorBackup")
    }

    @Test("go on with a job whose caller has gone")
    func callerGone() async throws {
        func begin() async throws {
            let body: JSONValue = ["id": 1, "method": "backup.run", "params": ProxySetting.job("hold")]
            _ = try await setting.send(body.compactText)
        }
        try await begin()
        setting.xen.release()
        try await waitUntil {
            try await setting.items("task.getAll").first?["status"] == "success"
        }
    }

    @Test("restore machines and metadata, with logs and without")
    func restores() async throws {
        let parameters: JSONObject = ["backupId": "/b", "remote": [:], "srUuid": "sr", "xapi": [:]]
        #expect(try await setting.value("backup.importVmBackup", .object(parameters)) == "new-vm")
        var streamed = parameters
        streamed["streamLogs"] = true
        let log = try await setting.items("backup.importVmBackup", .object(streamed))
        #expect(log[0]["properties"] == ["name": "restore", "backupId": "/b", "srId": "sr"])
        #expect(log.last?["result"] == ["id": "new-vm", "size": 77])
        streamed["backupId"] = "/missing"
        let missing = try await setting.error("backup.importVmBackup", .object(streamed))
        #expect(missing["code"] == -32000 && missing["data"]?["code"] == "ENOENT")

        let metadata = try await setting.items(
            "backup.restoreMetadataBackup", ["backupId": "xo-config-backups/a/b", "remote": [:]])
        #expect(metadata[0]["data"] == ["jobName": "nightly"])
        #expect(metadata[0]["properties"]?["metadata"] == ["jobName": "nightly"])
        #expect(metadata.last?["result"] == "{\"xo\":1}")
    }

    @Test("list and delete, each deletion as a task")
    func listsAndDeletes() async throws {
        #expect(try await setting.value("backup.listVmBackups", ["remotes": ["r": [:]]]) == ["r": [:]])
        _ = try await setting.value("backup.listVmBackups", ["remotes": [:], "vmId": "v"])
        #expect(
            try await setting.value("backup.listXoMetadataBackups", ["remotes": [:]])["kind"] == "xo-config-backups")
        let deletion: JSONValue = ["filenames": ["/a", "/b"], "remote": [:]]
        #expect(try await setting.value("backup.deleteVmBackups", deletion) == true)
        #expect(setting.xen.calls == ["list all", "list v", "delete /a,/b"])
        let locked = try await setting.error("backup.deleteVmBackups", ["filenames": ["/locked"], "remote": [:]])
        #expect(locked["message"] == "Lock file is already being held" && locked["data"]?["code"] == "ELOCKED")
        let tasks = try await setting.items("task.getAll")
        #expect(tasks.map { $0["name"] } == ["backup.deleteVmBackups", "backup.deleteVmBackups"])
        #expect(tasks.map { $0["status"] } == ["failure", "success"])
    }

    @Test("test remotes given in either way")
    func remotes() async throws {
        for parameters: JSONValue in [["url": "file:///a", "id": "r"], ["remote": ["url": "file:///a", "x": 1]]] {
            let result = try await setting.value("remote.test", parameters)
            #expect(result == ["success": true, "url": "file:///a"])
        }
        #expect(try await setting.error("remote.test")["code"] == 10)
        #expect(try await setting.error("remote.test", ["remote": 5])["code"] == 10)
        #expect(try await setting.value("remote.getInfo", ["remote": [:]]) == [:])
        #expect(try await setting.value("remote.getTotalBackupSize", ["remote": [:]]) == ["onDisk": 5])
    }

    @Test("show, end and remove tasks")
    func tasks() async throws {
        for _ in 0..<3 { _ = try await setting.value("backup.run", ProxySetting.job("quick", log: false)) }
        _ = try await setting.items("backup.run", ProxySetting.job("part"))
        let all = try await setting.items("task.getAll")
        #expect(all.count == 4)
        #expect(all.compactMap { $0["id"]?.stringValue } == all.compactMap { $0["id"]?.stringValue }.sorted(by: >))
        #expect(try await setting.items("task.getAll", ["limit": 2]) == Array(all.prefix(2)))
        #expect(try await setting.items("task.getAll", ["limit": 0]).isEmpty)
        #expect(try await setting.items("task.getAll", ["filter": ["status": "failure"]]).count == 1)
        #expect(try await setting.items("task.getAll", ["filter": ["status": "success"], "limit": 2]).count == 2)

        let id = try #require(all.last?["id"])
        let part = try #require(all.last?["tasks"]?.arrayValue?.first?["id"])
        #expect(try await setting.value("task.get", ["taskId": part])["name"] == "backup VM")
        let unknown = try await setting.error("task.get", ["taskId": "nobody"])
        #expect(unknown["code"] == 1 && unknown["data"] == ["id": "nobody", "type": "task"])
        let ended = try await setting.error("task.cancel", ["taskId": id])
        #expect(ended["code"] == 25 && ended["data"]?["property"] == "status")
        #expect(ended["data"]?["expected"] == "pending" && ended["data"]?["actual"] == "success")
        #expect(try await setting.error("task.destroy", ["taskId": part])["code"] == 5)
        #expect(try await setting.value("task.destroy", ["taskId": id]) == true)
        #expect(try await setting.error("task.get", ["taskId": id])["code"] == 1)
    }

    @Test("tell of malformed and lost tokens of events")
    func events() async throws {
        #expect(try await setting.value("event.from")["events"] == [])
        #expect(try await setting.error("event.from", ["token": "x"])["code"] == 10)
        let lost = try await setting.error("event.from", ["token": "00000000:3"])
        #expect(lost["code"] == -32000 && lost["data"]?["code"] == "EVENTS_LOST")
        #expect(try await setting.error("event.from", ["timeout": -1])["code"] == 10)
    }

    @Test("tell logs in the words of one generation where that is set", arguments: LogFormat.allCases)
    func formats(_ format: LogFormat) async throws {
        var options = ProxyOptions()
        options.logFormat = format
        let setting = try ProxySetting(options)
        let log = try await setting.items("backup.run", ProxySetting.job("quick", more: ["jobData": [:]]))
        for item in log {
            #expect((item["type"] != nil) == (format != .legacy))
            #expect((item["event"] != nil) == (format != .tasks && item["type"] != "property"))
        }
        #expect(log.contains { $0["type"] == "property" } == (format != .legacy))
    }

    @Test("describe the machine")
    func appliance() async throws {
        let info = try await setting.value("appliance.getInfo")
        #expect(info["build"] == .string(CairnVersion.text) && info["os"]?.stringValue != nil)
        #expect(OperatingSystem.parse("A=\"b c\"\n#x\nD='e'\n=\nF") == ["A": "b c", "D": "e", "": ""])
        #expect(try await setting.value("appliance.updater.getState") == ["state": "xoa-up-to-date"])
    }
}

import BackupFormats
import Platform
import StateDatabase
import Testing

@testable import Tasks

@Suite("The rotation of tasks")
struct RotationTests {
    @Test("keeps the newest thousand whatever their age, and all of the last thirty days")
    func usual() throws {
        let setting = try TaskSetting()
        let now = setting.clock.seconds
        try setting.database.write { state in
            for number in 0..<1005 {
                try state.put(
                    TaskRecord(
                        upid: "task \(number)", startTime: now - 40 * 86400 + Int64(number), workerType: "backup",
                        workerID: nil, owner: "root@pam", endTime: now, status: "OK"))
            }
            try state.put(
                TaskRecord(
                    upid: "running", startTime: now - 400 * 86400, workerType: "backup", workerID: nil,
                    owner: "root@pam"))
        }
        try setting.registry.rotate()
        let isThere = try setting.database.read { state in
            try ["task 0", "task 4", "task 5", "task 1004", "running"].map { try state.task($0) != nil }
        }
        #expect(isThere == [false, false, true, true, true])
    }

    @Test("follows the setting of the node, and removes the log with the entry")
    func configured() async throws {
        let setting = try TaskSetting()
        try await setting.database.write {
            try $0.put(ConfigEntry(id: "node", properties: ["task-log-max-days": 2]), in: .node)
        }
        let old = try await setting.end("backup", "old")
        let running = try setting.start("backup", "running")
        setting.clock.move(by: 3 * 86400)
        let new = try await setting.end("backup", "new")
        let path = setting.registry.logs.path(of: old)
        #expect(try FileSystem.exists(path))
        try setting.registry.rotate()
        #expect(try !FileSystem.exists(path))
        #expect(try setting.registry.info(old) == nil && setting.registry.log(old, start: 1, limit: 0) == nil)
        #expect(try setting.registry.info(new) != nil && setting.registry.info(running.upid)?.isRunning == true)
        running.finish()
        await running.waitUntilStopped()
    }
}

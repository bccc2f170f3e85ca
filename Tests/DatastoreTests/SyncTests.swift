import BackupFormats
import CairnTestSupport
@testable import Datastore
import Platform
import Testing

@Suite("Making snapshots durable")
struct SyncTests {
    @Test("syncs before the rename, and the folders above after it", arguments: SyncLevel.allCases)
    func order(_ level: SyncLevel) throws {
        let fault = StepFault()
        let test = try TestStore {
            $0.beforeStep = fault.hook
            $0.syncLevel = level
        }
        try SampleBackup().run(in: test.store)
        let end = fault.steps.drop { $0 != .manifestRewrite }
        #expect(
            Array(end) == [.manifestRewrite, .groupFolder, .ownerWrite]
                + (level == .none
                    ? [.publishRename, .published] : [.syncFileSystem, .publishRename, .syncFolders, .published]))
    }

    @Test("shares one sync among sessions that finish together, but none that began before")
    func shared() throws {
        let calls = Monitor((count: 0, mayEnd: false))
        let gate = SyncGate {
            calls.withLock(wake: true) { $0.count += 1 }
            _ = calls.wait { $0.mayEnd ? true : nil }
        }
        let passed = Monitor(0)
        try Threads.forEach(count: 9, width: 9) { number in
            if number == 8 {
                // All others wait: one in the first call, the rest for the second.
                _ = calls.wait(seconds: 10) { $0.count == 1 ? true : nil }
                _ = calls.wait(seconds: 1) { _ in nil as Bool? }
                #expect(calls.withLock { $0.count } == 1)
                calls.withLock(wake: true) { $0.mayEnd = true }
            } else {
                try gate.pass()
                passed.withLock { $0 += 1 }
            }
        }
        #expect(passed.withLock { $0 } == 8)
        #expect(calls.withLock { $0.count } <= 3)
    }

    @Test("tells a failed sync to all who shared it")
    func failure() throws {
        let gate = SyncGate { throw SystemError("syncfs", "x", code: 5) }
        #expect(throws: SystemError.self) { try gate.pass() }
        #expect(throws: SystemError.self) { try gate.pass() }
    }
}

import BackupFormats
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("Sessions at the same time")
struct ConcurrencyTests {
    @Test("publish the same chunks in many groups, and each snapshot is whole from the first moment")
    func manySessions() throws {
        let test = try TestStore { $0.syncLevel = .filesystem }
        let store = test.store
        let count = 12
        try Threads.forEach(count: count + 1, width: 7) { number in
            guard number > 0 else {
                // One thread looks on from outside.
                while try finished(test.path) < count {
                    for id in try names("\(test.path)/host") {
                        for snapshot in try names("\(test.path)/host/\(id)") where snapshot.hasPrefix("2024-") {
                            let files = try FileSystem.list("\(test.path)/host/\(id)/\(snapshot)")
                            #expect(files.contains("index.json.blob") && files.count == 4)
                            #expect(try FileSystem.exists("\(test.path)/host/\(id)/owner"))
                        }
                    }
                }
                return
            }
            try SampleBackup("host/machine\(number)/2024-06-01T00:00:00Z").run(in: store)
        }
        let verifier = SnapshotVerifier(store, task: SampleBackup.task)
        for entry in try store.snapshots(in: .root) {
            let reader = try store.openReader(entry.name, in: .root, purpose: "a test")
            #expect(try verifier.verify(reader).errors == [])
        }
        #expect(store.sessions.activeCount == 0)
        try store.close()
    }

    private func names(_ path: String) throws -> [String] {
        do throws(SystemError) {
            return try FileSystem.list(path)
        } catch {
            if error.isMissing { return [] }
            throw error
        }
    }

    private func finished(_ path: String) throws -> Int {
        try names("\(path)/host").count { try names("\(path)/host/\($0)").contains { $0.hasPrefix("2024-") } }
    }

    @Test("of one group exclude each other, whoever comes first")
    func oneGroup() throws {
        let test = try TestStore()
        let store = test.store
        let outcomes = Monitor<[Result<SnapshotStage, any Error>]>([])
        try Threads.forEach(count: 8, width: 8) { number in
            let backup = SampleBackup("host/sample/2024-06-0\(number + 1)T00:00:00Z")
            let outcome = Result { try backup.begin(in: store) }
            outcomes.withLock { $0.append(outcome) }
        }
        let stages = outcomes.withLock { $0 }.compactMap { try? $0.get() }
        #expect(stages.count == 1)
        stages.first?.discard()
        #expect(store.sessions.activeCount == 0)
    }
}

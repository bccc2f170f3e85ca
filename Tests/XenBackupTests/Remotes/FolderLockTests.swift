import BackupFormats
import CairnTestSupport
import Platform
import Testing
import XenBackup

@Suite("A folder lock")
struct FolderLockTests {
    /// Two clients of one folder, as two machines would be.
    private func clients(_ folder: TemporaryFolder, _ timing: LockTiming = LockTiming()) async throws -> [FileRemote] {
        var clients: [FileRemote] = []
        for name in ["first", "second"] {
            clients.append(
                try await FileRemote.open(
                    folder.path, name: name, time: .system, timing: timing, registry: LockRegistry()))
        }
        return clients
    }

    /// A lock that somebody else made, last touched `age` seconds ago.
    private func makeLock(_ name: String, in folder: TemporaryFolder, age: Int64) throws {
        try FileSystem.makeFolders("\(folder.path)/\(name)", mode: 0o700)
        try OpenNode(folderAt: "\(folder.path)/\(name)")
            .setModified(seconds: TimeSource.system.seconds - age, nanoseconds: 0)
    }

    @Test("excludes a second writer until it is released")
    func excludes() async throws {
        let folder = try TemporaryFolder()
        let clients = try await clients(folder)
        let lock = try await clients[0].lock("vms/one", patience: .zero)
        #expect(lock.isHeld)
        #expect(try FileSystem.list("\(folder.path)/vms") == ["one.lock"])
        for client in clients {
            await #expect {
                _ = try await client.lock("vms/one", patience: .zero)
            } throws: { ($0 as? BackupFailure)?.summary == "Lock file is already being held" }
        }
        let other = try await clients[1].lock("vms/two", patience: .zero)
        await lock.release()
        await lock.release()
        #expect(!lock.isHeld)
        let next = try await clients[1].lock("vms/one", patience: .zero)
        await next.release()
        await other.release()
        #expect(try FileSystem.list("\(folder.path)/vms") == [])
    }

    @Test("goes to one who waits patiently")
    func waits() async throws {
        let folder = try TemporaryFolder()
        let clients = try await clients(folder)
        let lock = try await clients[0].lock("one", patience: .zero)
        async let waiting = clients[1].lock("one", patience: .seconds(120))
        try await Task.sleep(for: .milliseconds(100))
        await lock.release()
        let next = try await waiting
        #expect(next.isHeld)
        await next.release()
    }

    @Test("is waited for no longer by one who is cancelled")
    func cancelled() async throws {
        let folder = try TemporaryFolder()
        let clients = try await clients(folder)
        let lock = try await clients[0].lock("one", patience: .zero)
        let waiting = Task { try await clients[1].lock("one", patience: .seconds(600)) }
        waiting.cancel()
        await #expect(throws: (any Error).self) { try await waiting.value }
        #expect(lock.isHeld)
        await lock.release()
    }

    @Test("is taken over from one who died long ago, at once")
    func abandoned() async throws {
        let folder = try TemporaryFolder()
        let clients = try await clients(folder)
        try makeLock("one.lock", in: folder, age: 7200)
        let lock = try await clients[0].lock("one", patience: .zero)
        #expect(lock.isHeld)
        #expect(try FileSystem.list(folder.path) == ["one.lock"])
        await lock.release()
        #expect(try FileSystem.list(folder.path) == [])
    }

    @Test("that is old is watched before it is taken over, since its holder's clock may be wrong")
    func watched() async throws {
        let folder = try TemporaryFolder()
        var timing = LockTiming()
        timing.watch = .milliseconds(300)
        timing.poll = .milliseconds(50)
        let clients = try await clients(folder, timing)
        try makeLock("one.lock", in: folder, age: 60)
        await expectFailure(.conflict) { _ = try await clients[0].lock("one", patience: .zero) }
        let lock = try await clients[0].lock("one", patience: .seconds(120))
        await lock.release()
    }

    @Test("goes to one only of many who see it abandoned")
    func race() async throws {
        let folder = try TemporaryFolder()
        try makeLock("one.lock", in: folder, age: 7200)
        let path = folder.path
        let winners = try await withThrowingTaskGroup(of: (any RemoteLock)?.self) { group in
            for number in 0..<12 {
                group.addTask {
                    let client = try await FileRemote.open(
                        path, name: "client \(number)", time: .system, registry: LockRegistry())
                    do {
                        return try await client.lock("one", patience: .zero)
                    } catch let failure as BackupFailure where failure.kind == .conflict {
                        return nil
                    }
                }
            }
            return try await group.reduce(into: [any RemoteLock]()) { if let lock = $1 { $0.append(lock) } }
        }
        #expect(winners.count == 1)
        for lock in winners { await lock.release() }
    }

    @Test("is touched as long as it is held")
    func touched() async throws {
        let folder = try TemporaryFolder()
        var timing = LockTiming()
        timing.refresh = .milliseconds(20)
        let clients = try await clients(folder, timing)
        let lock = try await clients[0].lock("one", patience: .zero)
        let node = try OpenNode(folderAt: folder.path)
        let first = try node.info(of: Array("one.lock".utf8))
        try await eventually {
            let now = try node.info(of: Array("one.lock".utf8))
            return (now.modifiedSeconds, now.modifiedNanoseconds) > (first.modifiedSeconds, first.modifiedNanoseconds)
        }
        await lock.release()
    }

    @Test("that somebody else took is lost, and left to them", arguments: [true, false])
    func lost(isRemade: Bool) async throws {
        let folder = try TemporaryFolder()
        var timing = LockTiming()
        timing.refresh = .milliseconds(20)
        let clients = try await clients(folder, timing)
        let lock = try await clients[0].lock("one", patience: .zero)
        try FileSystem.removeFolder("\(folder.path)/one.lock")
        if isRemade { try makeLock("one.lock", in: folder, age: 1) }
        try await eventually { !lock.isHeld }
        await lock.release()
        #expect(try FileSystem.exists("\(folder.path)/one.lock") == isRemade)
    }

    @Test("is given back when its remote is closed")
    func closed() async throws {
        let folder = try TemporaryFolder()
        let clients = try await clients(folder)
        let lock = try await clients[0].lock("one", patience: .zero)
        await clients[0].close()
        #expect(!lock.isHeld)
        #expect(try FileSystem.list(folder.path) == [])
    }
}

/// Waits for a condition, with patience for slow machines.
func eventually(_ condition: () async throws -> Bool) async throws {
    for _ in 0..<12_000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("it did not happen within two minutes")
}

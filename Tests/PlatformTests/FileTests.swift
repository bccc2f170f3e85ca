import BackupFormats
import CairnTestSupport
import Platform
import Testing

@Suite("An atomically replaced file")
struct AtomicFileTests {
    @Test("has the new content and mode, and leaves no other file")
    func replaces() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/index.json.blob"
        try AtomicFile.replace(path, with: [1, 2, 3], mode: 0o640, isSynced: true)
        try AtomicFile.replace(path, with: [4], mode: 0o600)
        #expect(try FileSystem.read(path, limit: 10) == [4])
        #expect(try FileSystem.status(path)?.mode == 0o600)
        #expect(try FileSystem.list(folder.path) == ["index.json.blob"])
    }

    @Test("stays as it was when the writer fails before the rename")
    func fails() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/owner"
        try AtomicFile.replace(path, with: [1])
        var temporary: [String] = []
        #expect(throws: SystemError.self) {
            try AtomicFile.replace(path, with: [2]) {
                temporary = try FileSystem.list(folder.path)
                throw SystemError("fault", "injected", code: 28)
            }
        }
        #expect(temporary.count == 2)
        #expect(temporary.contains { $0.hasPrefix("owner.tmp_") })
        #expect(try FileSystem.list(folder.path) == ["owner"])
        #expect(try FileSystem.read(path, limit: 10) == [1])
    }
}

@Suite("A written file that leaves the page cache")
struct WriteBehindTests {
    @Test("reads as it was written, during and after")
    func keepsContent() throws {
        let folder = try TemporaryFolder()
        let behind = WriteBehind()
        func content(_ number: Int) -> [UInt8] { [UInt8](repeating: UInt8(number), count: 9000 + number) }
        for number in 0..<40 {
            try AtomicFile.replace("\(folder.path)/\(number)", with: content(number), writeBehind: behind)
        }
        behind.release()
        for number in 0..<40 {
            #expect(try FileSystem.read("\(folder.path)/\(number)", limit: 10_000) == content(number))
        }
    }
}

@Suite("Calls on paths")
struct FileSystemTests {
    @Test("read a file of any length up to the limit", arguments: [0, 1, 4095, 4096, 4097, 20_000])
    func readsAll(count: Int) throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/file"
        let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try AtomicFile.replace(path, with: content)
        #expect(try FileSystem.read(path, limit: count) == content)
        #expect(throws: SystemError.self) { _ = try FileSystem.read(path, limit: count - 1) }
    }

    @Test("read what reports no length")
    func readsProc() throws {
        #expect(try !FileSystem.read("/proc/self/stat", limit: 1 << 16).isEmpty)
    }

    @Test("rename only where nothing has the new name")
    func renamesExclusively() throws {
        let folder = try TemporaryFolder()
        let (old, new) = ("\(folder.path)/old", "\(folder.path)/new")
        try FileSystem.makeFolder(old, mode: 0o700)
        try FileSystem.makeFolder(new, mode: 0o700)
        let error = #expect(throws: SystemError.self) { try FileSystem.renameExclusively(old, to: new) }
        #expect(error?.isExisting == true)
        try FileSystem.removeFolder(new)
        try FileSystem.renameExclusively(old, to: new)
        #expect(try FileSystem.list(folder.path) == ["new"])
    }

    @Test("remove a tree without following links")
    func removesTree() throws {
        let folder = try TemporaryFolder()
        try FileSystem.makeFolders("\(folder.path)/a/b", mode: 0o700)
        try AtomicFile.replace("\(folder.path)/a/b/file", with: [1])
        try FileSystem.removeTree("\(folder.path)/a")
        try FileSystem.removeTree("\(folder.path)/a")
        #expect(try FileSystem.list(folder.path) == [])
    }

    @Test("read no more than the limit, and say what is missing")
    func reads() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.replace("\(folder.path)/file", with: [UInt8](repeating: 1, count: 10_000))
        #expect(try FileSystem.read("\(folder.path)/file", limit: 10_000).count == 10_000)
        #expect(throws: SystemError.self) { try FileSystem.read("\(folder.path)/file", limit: 9_999) }
        #expect(try FileSystem.readIfPresent("\(folder.path)/none", limit: 1) == nil)
        let error = #expect(throws: SystemError.self) { try FileSystem.list("\(folder.path)/none") }
        #expect(error?.kind == .noSuchObject)
        #expect("\(try #require(error))".contains("No such file"))
    }

    @Test("touch the access time alone")
    func touches() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/file"
        try AtomicFile.replace(path, with: [1])
        let before = try #require(try FileSystem.status(path))
        #expect(try FileSystem.touchAccessTime(path))
        let after = try #require(try FileSystem.status(path))
        #expect(after.accessedNanoseconds > before.accessedNanoseconds)
        #expect(after.modified == before.modified)
        #expect(try !FileSystem.touchAccessTime("\(folder.path)/none"))
    }

    @Test("know the room on the file system")
    func space() throws {
        let space = try FileSystem.space(of: "/tmp")
        #expect(space.total > 0 && space.available <= space.total && space.used <= space.total)
    }
}

@Suite("A lock on a file")
struct FileLockTests {
    @Test("of an open file keeps out other openers in the same process")
    func description() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/lock"
        let first = try FileLock(try OpenFile(path, .make(mode: 0o644)), .exclusive, owner: .openFile)
        let error = #expect(throws: SystemError.self) {
            try FileLock(try OpenFile(path, .make(mode: 0o644)), .shared, owner: .openFile)
        }
        #expect(error?.isLocked == true)
        first.release()
        #expect(try FileLock.taken(try OpenFile(path, .make(mode: 0o644)), .shared, owner: .openFile) != nil)
    }
}

@Suite("This process")
struct ProcessTests {
    @Test("has an id, a start and a host")
    func identity() {
        #expect(ProcessInformation.id > 1)
        #expect(ProcessInformation.startTime > 0)
        #expect(ProcessInformation.startTime(of: ProcessInformation.id) == ProcessInformation.startTime)
        #expect(!ProcessInformation.hostName.isEmpty)
        #expect(ProcessInformation.processorCount > 0)
    }

    @Test("gets other random bytes each time, and version 4 UUIDs")
    func random() throws {
        #expect(try SystemRandom.bytes(32) != SystemRandom.bytes(32))
        let uuid = try SystemRandom.uuid()
        #expect(uuid.count == 16 && uuid[6] >> 4 == 4 && uuid[8] >> 6 == 2)
    }
}

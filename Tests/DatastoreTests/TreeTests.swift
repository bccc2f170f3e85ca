import BackupFormats
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("The tree of a store")
struct TreeTests {
    let test: TestStore
    var store: Datastore { test.store }

    init() throws { test = try TestStore() }

    func ns(_ text: String) throws -> Namespace { try Namespace(parsing: text) }

    @discardableResult
    func backUp(_ snapshot: String, in namespace: String = "") throws -> SnapshotName {
        var backup = SampleBackup(snapshot, pieces: 1)
        backup.namespace = try ns(namespace)
        try backup.run(in: store)
        return backup.snapshot
    }

    @Test("makes namespaces below existing ones, as the original lays them out")
    func createsNamespaces() throws {
        #expect(try store.createNamespace(try ns("a")))
        #expect(try store.createNamespace(try ns("a/b")))
        #expect(try !store.createNamespace(try ns("a/b")))
        #expect(try FileSystem.isFolder("\(test.path)/ns/a/ns/b"))
        #expect(try FileSystem.status("\(test.path)/ns/a")?.mode == 0o755)
        #expect(#expect(throws: BackupFailure.self) { try store.createNamespace(try ns("x/y")) }?.kind == .noSuchObject)
        #expect(#expect(throws: BackupFailure.self) { try store.groups(in: try ns("x")) }?.kind == .noSuchObject)
        #expect(try store.namespaces(below: try ns("a")).map { "\($0)" } == ["a", "a/b"])
    }

    @Test("removes a namespace with its content only when told so")
    func removesNamespaces() throws {
        try store.createNamespace(try ns("a"))
        try store.createNamespace(try ns("a/b"))
        try backUp("vm/100/2024-06-01T00:00:00Z", in: "a/b")
        let failure = #expect(throws: BackupFailure.self) {
            try store.removeNamespace(try ns("a"), includingGroups: false)
        }
        #expect(failure?.kind == .conflict && failure?.summary.contains("a/b:vm/100") == true)
        #expect(
            try store.removeNamespace(try ns("a"), includingGroups: true)
                == .init(removedNamespaces: 2, removedGroups: 1, removedSnapshots: 1))
        #expect(try store.namespaces() == [.root])
        #expect(try store.removeNamespace(try ns("a"), includingGroups: true) == .init())
        try store.createNamespace(try ns("a"))
        try store.createNamespace(try ns("a/b"))
        #expect(try store.removeNamespace(try ns("a"), includingGroups: false).removedNamespaces == 2)
    }

    @Test("keeps what is protected, and all that holds it")
    func protects() throws {
        try store.createNamespace(try ns("a"))
        let first = try backUp("vm/100/2024-06-01T00:00:00Z", in: "a")
        let second = try backUp("vm/100/2024-06-02T00:00:00Z", in: "a")
        try store.setProtected(true, first, in: try ns("a"))
        #expect(try FileSystem.read("\(test.path)/ns/a/\(first)/.protected", limit: 1) == [])
        #expect(
            #expect(throws: BackupFailure.self) { try store.removeSnapshot(first, in: try ns("a")) }?.kind == .conflict)
        #expect(
            try store.removeNamespace(try ns("a"), includingGroups: true)
                == .init(removedSnapshots: 1, protectedSnapshots: 1))
        #expect(try store.snapshots(in: try ns("a")).map { $0.name } == [first])
        #expect(
            #expect(throws: BackupFailure.self) { try store.removeSnapshot(second, in: try ns("a")) }?.kind
                == .noSuchObject)
        #expect(try store.removeGroup(first.group, in: try ns("a")) == .init(protectedSnapshots: 1))
        try store.setProtected(false, first, in: try ns("a"))
        #expect(try store.removeGroup(first.group, in: try ns("a")) == .init(removedGroups: 1, removedSnapshots: 1))
        #expect(try store.owner(missing: first.group, in: try ns("a")) == .noSuchObject)
    }

    @Test("lists groups in their order and drops a group with its last snapshot")
    func groups() throws {
        for name in ["vm/100", "vm/9", "ct/1", "host/b", "vm/x"] { try backUp("\(name)/2024-06-01T00:00:00Z") }
        #expect(try store.groups(in: .root).map { "\($0.group)" } == ["ct/1", "host/b", "vm/9", "vm/100", "vm/x"])
        try store.removeSnapshot(try #require(SnapshotName(parsing: "vm/9/2024-06-01T00:00:00Z")), in: .root)
        #expect(try FileSystem.list("\(test.path)/vm") == ["100", "x"])
        #expect(try store.counts().types[.vm] == .init(groups: 2, snapshots: 2))
    }

    @Test("keeps owners and notes of groups")
    func groupFiles() throws {
        let group = try backUp("vm/100/2024-06-01T00:00:00Z").group
        let owner = try #require(AuthID(parsing: "other@pam!token"))
        try store.setOwner(owner, of: group, in: .root)
        #expect(try store.owner(of: group, in: .root) == owner)
        #expect(try FileSystem.read("\(test.path)/vm/100/owner", limit: 99) == Array("other@pam!token\n".utf8))
        #expect(try store.groupNotes(of: group, in: .root) == "")
        try store.setGroupNotes("first\nsecond", of: group, in: .root)
        #expect(try store.groups(in: .root).first?.notes == "first\nsecond")
        #expect(try FileSystem.status("\(test.path)/vm/100/notes")?.mode == 0o644)
        let missing = try #require(BackupGroup(parsing: "vm/1"))
        #expect(
            #expect(throws: BackupFailure.self) { try store.setOwner(owner, of: missing, in: .root) }?.kind
                == .noSuchObject)
    }

    @Test("changes notes in the manifest and nothing else of it")
    func notes() throws {
        let snapshot = try backUp("vm/100/2024-06-01T00:00:00Z")
        let before = try store.manifest(of: snapshot, in: .root)
        try store.setNotes("a note", of: snapshot, in: .root)
        let after = try store.manifest(of: snapshot, in: .root)
        #expect(after.notes == "a note" && after.differsOnlyInUnprotected(from: before))
        #expect(try FileSystem.status("\(test.path)/\(snapshot)/index.json.blob")?.mode == 0o644)
        let missing = try #require(SnapshotName(parsing: "vm/100/2024-06-03T00:00:00Z"))
        #expect(
            #expect(throws: BackupFailure.self) { try store.setNotes("x", of: missing, in: .root) }?.kind
                == .noSuchObject)
    }

    @Test("takes notes, verify states and statistics at the same time without losing one")
    func concurrentChanges() throws {
        let snapshot = try backUp("vm/100/2024-06-01T00:00:00Z")
        let store = store
        try Threads.forEach(count: 40, width: 8) { number in
            try store.updateManifest(of: snapshot, in: .root) { $0.unprotected["n\(number)"] = .integer(number) }
        }
        #expect(try store.manifest(of: snapshot, in: .root).unprotected.members.count { $0.name.hasPrefix("n") } == 40)
    }

    @Test("takes the client's log once")
    func clientLog() throws {
        let snapshot = try backUp("vm/100/2024-06-01T00:00:00Z")
        let blob = try store.manifestBytes(of: snapshot, in: .root)
        try store.storeClientLog(blob, for: snapshot, in: .root)
        #expect(
            #expect(throws: BackupFailure.self) { try store.storeClientLog(blob, for: snapshot, in: .root) }?.kind
                == .conflict)
        #expect(try store.snapshot(snapshot, in: .root).files.contains { $0.name == .clientLog })
    }

    @Test("keeps a snapshot while somebody reads it")
    func readers() throws {
        let snapshot = try backUp("vm/100/2024-06-01T00:00:00Z")
        let first = try store.openReader(snapshot, in: .root, purpose: "the restore of task X")
        let second = try store.openReader(snapshot, in: .root, purpose: "the restore of task Y")
        let failure = #expect(throws: BackupFailure.self) { try store.removeSnapshot(snapshot, in: .root) }
        #expect(failure?.summary.contains("in use by the restore of task X") == true)
        first.close()
        #expect(throws: BackupFailure.self) { try store.removeGroup(snapshot.group, in: .root) }
        second.close()
        #expect(try store.removeGroup(snapshot.group, in: .root).removedSnapshots == 1)
        #expect(
            #expect(throws: BackupFailure.self) { try store.openReader(snapshot, in: .root, purpose: "a test") }?.kind
                == .noSuchObject)
    }
}

extension Datastore {
    /// The kind of failure of asking for an owner.
    func owner(missing group: BackupGroup, in namespace: Namespace) throws -> BackupFailure.Kind? {
        do { _ = try owner(of: group, in: namespace) } catch let failure as BackupFailure { return failure.kind }
        return nil
    }
}

@Suite("Creating a store")
struct CreationTests {
    @Test("makes all prefix folders, with the modes that a PBS demands")
    func shape() throws {
        let folder = try TemporaryFolder(inMemory: true)
        let path = "\(folder.path)/a/store"
        var options = StoreOptions()
        options.syncLevel = .none
        try Datastore.create(name: "store", at: path, options: options)
        #expect(try FileSystem.list("\(path)/.chunks").count == 65_536)
        #expect(try FileSystem.status(path)?.mode == 0o755)
        #expect(try FileSystem.status("\(path)/.chunks")?.mode == 0o750)
        #expect(try FileSystem.status("\(path)/.chunks/ffff")?.mode == 0o750)
        #expect(try FileSystem.status("\(path)/.lock")?.mode == 0o644)
        #expect(
            #expect(throws: BackupFailure.self) { try Datastore.create(name: "store", at: path) }?.kind == .conflict)
    }

    @Test("takes a folder with dot-files and lost+found, and no other")
    func content() throws {
        let folder = try TemporaryFolder()
        try FileSystem.makeFolder("\(folder.path)/lost+found", mode: 0o700)
        try AtomicFile.replace("\(folder.path)/.keep", with: [])
        try AtomicFile.replace("\(folder.path)/data", with: [])
        let failure = #expect(throws: BackupFailure.self) {
            try Datastore.create(name: "store", at: folder.path, options: TestStore.options)
        }
        #expect(failure?.kind == .conflict && failure?.summary.contains("'data'") == true)
        try FileSystem.removeFile("\(folder.path)/data")
        try Datastore.create(name: "store", at: folder.path, options: TestStore.options)
        try Datastore.open(name: "store", at: folder.path, options: TestStore.options).close()
    }

    @Test("refuses bad names and relative paths", arguments: [("ab", "/tmp/x"), ("a/b", "/tmp/x"), ("store", "x")])
    func names(_ name: String, _ path: String) {
        let failure = #expect(throws: BackupFailure.self) { try Datastore.create(name: name, at: path) }
        #expect(failure?.kind == .invalidInput)
    }

    @Test("is needed before opening")
    func missing() throws {
        let folder = try TemporaryFolder()
        let failure = #expect(throws: BackupFailure.self) { try Datastore.open(name: "store", at: folder.path) }
        #expect(failure?.kind == .noSuchObject)
        #expect(try FileSystem.list(folder.path) == [])
    }
}

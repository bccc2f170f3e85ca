import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Testing

/// The store that a real PBS 3.2 wrote.
@Suite("A store of the original server")
struct FixtureStoreTests {
    let folder: TemporaryFolder
    let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = "\(folder.path)/store"
        try FixtureStore.copy(to: URL(fileURLWithPath: path))
    }

    func open() throws -> Datastore { try Datastore.open(name: "fixture", at: path, options: TestStore.options) }

    func json(_ name: String) throws -> [JSONValue] {
        try #require(try JSONValue(parsing: Fixtures.bytes("pbs/outputs/\(name)")).arrayValue)
    }

    @Test("lists the namespaces, groups and snapshots that the original lists")
    func lists() throws {
        let store = try open()
        #expect(try store.namespaces().map { "\($0)" } == ["", "prod", "prod/eu"])
        #expect(try store.namespaces(maxDepth: 1).map { "\($0)" } == ["", "prod"])
        let groups = try store.groups(in: .root)
        let expected = try json("group-list.json")
        #expect(groups.count == expected.count)
        for group in groups {
            let listed = try #require(expected.first { $0["backup-id"]?.stringValue == group.group.id })
            #expect(listed["owner"]?.stringValue == group.owner.map { "\($0)" })
            #expect(listed["backup-count"]?.intValue == Int64(group.finishedCount))
            #expect(listed["last-backup"]?.intValue == group.newestFinished?.name.time)
        }
        let snapshots = try store.snapshots(in: .root)
        let listed = try json("snapshot-list.json")
        #expect(snapshots.count == listed.count)
        for entry in snapshots {
            let manifest = try store.manifest(of: entry.name, in: .root)
            let other = try #require(
                listed.first {
                    $0["backup-id"]?.stringValue == entry.name.group.id
                        && $0["backup-time"]?.intValue == entry.name.time
                })
            #expect(other["protected"]?.boolValue == entry.isProtected)
            #expect(other["fingerprint"]?.stringValue == manifest.keyFingerprint)
            for file in manifest.files {
                let name = file.name.name
                let size = other["files"]?.arrayValue?.first { $0["filename"]?.stringValue == name }?["size"]?.intValue
                #expect(size == Int64(file.size), "\(entry.name)/\(name)")
                #expect(entry.files.contains { $0.name == file.name })
            }
        }
    }

    @Test("gives notes, protection, owners and counts")
    func attributes() throws {
        let store = try open()
        let second = try #require(SnapshotName(parsing: "host/plain/2024-06-02T00:00:00Z"))
        #expect(try store.isProtected(second, in: .root))
        #expect(try store.notes(of: second, in: .root).split(separator: "\n").count == 2)
        #expect("\(try store.owner(of: second.group, in: .root))" == "tester@pbs")
        let counts = try store.counts()
        #expect(counts.types[.vm]?.snapshots == 1)
        #expect(counts.types[.ct]?.groups == 1)
        #expect(counts.types[.host]?.snapshots == 11)
    }

    @Test("gives the indexes and blobs of a snapshot, and every chunk of them")
    func reads() throws {
        let store = try open()
        let prod = try Namespace(parsing: "prod/eu")
        let machine = try #require(try store.snapshots(in: prod).first)
        let reader = try store.openReader(machine.name, in: prod, purpose: "a test")
        let manifest = try reader.manifest()
        for file in manifest.files where file.name.kind != .blob {
            let index = try reader.openIndex(file.name)
            #expect(index.logicalSize == file.size)
            #expect(try index.computeChecksum() == file.checksum)
            #expect(index.storedChecksum == file.checksum)
            var end: UInt64 = 0
            try index.forEach { entry in
                #expect(entry.offset == end)
                end += UInt64(entry.length)
                _ = try store.chunks.read(entry.digest)
            }
            #expect(end == index.logicalSize)
        }
        #expect(try reader.blob(.manifest) == store.manifestBytes(of: machine.name, in: prod))
        let failure = #expect(throws: BackupFailure.self) { try reader.blob(.clientLog) }
        #expect(failure?.kind == .notFound)
    }

    @Test("verifies without an error, and keeps the result in the manifests")
    func verifies() throws {
        let store = try open()
        let verifier = SnapshotVerifier(store, task: SampleBackup.task)
        var checked = 0
        for namespace in try store.namespaces() {
            for entry in try store.snapshots(in: namespace) {
                let reader = try store.openReader(entry.name, in: namespace, purpose: "a test")
                let outcome = try verifier.verify(reader)
                #expect(outcome.errors == [], "\(entry.name)")
                checked += outcome.checkedChunks
                let state = try reader.manifest().verifyState
                #expect(state == .init(outcome: .ok, task: SampleBackup.task))
            }
        }
        #expect(checked > 40)
    }

    @Test("is opened a second time by nobody, and again after closing")
    func locks() throws {
        let store = try open()
        let failure = #expect(throws: BackupFailure.self) { try open() }
        #expect(failure?.kind == .conflict)
        #expect(failure?.summary.contains("pid \(ProcessInformation.id)") == true)
        try store.close()
        try open().close()
    }

    @Test("stays untouched when it is opened for reading")
    func readOnly() throws {
        let before = try FileSystem.list(path)
        var options = TestStore.options
        options.isReadOnly = true
        let store = try Datastore.open(name: "fixture", at: path, options: options)
        #expect(try store.snapshots(in: .root).count == 11)
        let failure = #expect(throws: BackupFailure.self) { try SampleBackup().run(in: store) }
        #expect(failure?.kind == .conflict)
        #expect(try FileSystem.list(path) == before)
    }
}

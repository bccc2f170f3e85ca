import BackupFormats
import CairnTestSupport
import Datastore
import Foundation
import Platform
import Testing

@Suite("A store that belongs to another user", .enabled(if: ProcessInformation.isRoot, "needs root"))
struct OwnershipTests {
    /// The `backup` user of Debian.
    static let user: UInt32 = 34

    let folder: TemporaryFolder
    var path: String { "\(folder.path)/store" }

    init() throws {
        folder = try TemporaryFolder()
        try FileSystem.setMode(folder.path, 0o755)
        let path = "\(folder.path)/store"
        try Datastore.create(name: "test", at: path, options: TestStore.options)
        for name in ["", "/.chunks", "/.lock"] {
            try FileSystem.setOwner(path + name, user: Self.user, group: Self.user)
        }
    }

    @Test("gets every file that root writes")
    func gives() throws {
        let store = try Datastore.open(name: "test", at: path, options: TestStore.options)
        try store.createNamespace(try Namespace(parsing: "a"))
        var backup = SampleBackup()
        backup.namespace = try Namespace(parsing: "a")
        try backup.run(in: store)
        try store.setProtected(true, backup.snapshot, in: backup.namespace)
        try store.setNotes("x", of: backup.snapshot, in: backup.namespace)
        try store.setGroupNotes("x", of: backup.snapshot.group, in: backup.namespace)
        for name in try FileManager.default.subpathsOfDirectory(atPath: path) {
            let status = try #require(try FileSystem.status("\(path)/\(name)"))
            #expect(status.user == Self.user && status.group == Self.user, "\(name)")
        }
    }

    @Test("is read-only for a process that cannot write as that user, and says why")
    func readOnly() async throws {
        await #expect(processExitsWith: .exitCode(3)) { [path = path as String] in
            guard setegid(4711) == 0, seteuid(4711) == 0 else { exit(5) }
            do {
                let store = try Datastore.open(name: "test", at: path, options: TestStore.options)
                exit(store.readOnlyReason?.contains("user 34") == true ? 3 : 4)
            } catch {
                // .chunks has mode 0750, but its status can be read.
                exit(6)
            }
        }
    }
}

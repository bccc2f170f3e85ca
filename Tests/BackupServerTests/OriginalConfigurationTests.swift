import BackupFormats
import CairnTestSupport
import Platform
import StateDatabase
import Testing

@testable import BackupServer

@Suite("The configuration of the original")
struct OriginalConfigurationTests {
    static let files: [(name: String, text: String)] = [
        (
            "user.cfg",
            """
            user: root@pam
            \tcomment Super User

            user: joe@pbs
            \tcomment Joe of the cellar
            \temail joe@example.org
            \tenable 0
            \texpire 1767225600

            user: ldapper@company

            token: joe@pbs!laptop
            \tcomment his laptop

            token: joe@pbs!lost

            """
        ),
        ("shadow.json", #"{"joe":"$5$rounds=1000$abc$def"}"#),
        ("token.shadow", #"{"joe@pbs!laptop":"$y$j9T$abc$def"}"#),
        (
            "acl.cfg",
            """
            acl:1:/:joe@pbs,joe@pbs!laptop:DatastoreAudit,RemoteAudit
            acl:0:/datastore/store1:@staff,joe@pbs:Admin

            """
        ),
        (
            "datastore.cfg",
            """
            datastore: store1
            \tcomment first one
            \tgc-schedule daily
            \tkeep-last 3
            \tpath /mnt/store1
            \tverify-new true

            datastore: cloud
            \tbackend type=s3,client=a,bucket=b
            \tpath /mnt/cache

            """
        ),
        ("prune.cfg", "prune: p1\n\tkeep-daily 7\n\tschedule daily\n\tstore store1\n"),
        (
            "sync.cfg",
            "sync: s1\n\tgroup-filter type:vm\n\tgroup-filter group:ct/1\n\tremote there\n\tremote-store r\n\tstore store1\n"
        ),
        (
            "remote.cfg",
            "remote: there\n\tauth-id sync@pbs!t\n\thost 10.0.0.2\n\tpassword c2VjcmV0LXRleHQ=\n\tport 8008\n"
        ),
    ]

    static func folder(_ files: [(name: String, text: String)]) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        for (name, text) in files { try AtomicFile.replace("\(folder.path)/\(name)", with: Array(text.utf8)) }
        return folder
    }

    @Test("is taken over: accounts, secrets, rights, datastores, jobs, remotes")
    func takesOver() throws {
        let folder = try Self.folder(Self.files)
        let database = try StateDatabase(folder: StateFolder(path: folder.path + "/state"))
        defer { database.close() }
        let report = try OriginalConfiguration(folder: folder.path).add(to: database)
        #expect(
            report.users == 3 && report.tokens == 1 && report.rights == 5 && report.datastores == 1 && report.jobs == 2
                && report.remotes == 1)
        #expect(report.remarks.count == 4, "\(report.remarks)")
        try database.read { state in
            let joe = try #require(try state.users().first { $0.id.name == "joe" })
            #expect(joe.passwordHash == "$5$rounds=1000$abc$def" && !joe.isEnabled && joe.expire == 1_767_225_600)
            #expect(joe.comment == "Joe of the cellar" && joe.email == "joe@example.org")
            #expect(try state.tokens().map(\.secretHash) == ["$y$j9T$abc$def"])
            let inCellar = try state.acl().filter { $0.path == "/datastore/store1" }
            #expect(inCellar.map(\.role) == ["Admin"] && inCellar.allSatisfy { !$0.propagates })
            let store = try #require(try state.datastore("store1"))
            #expect(store.path == "/mnt/store1" && store.properties["keep-last"] == 3)
            #expect(store.properties["verify-new"] == true && store.properties["comment"] == "first one")
            #expect(try state.entry(.pruneJob, "p1")?.properties["keep-daily"] == 7)
            #expect(try state.entry(.syncJob, "s1")?.properties["group-filter"] == ["type:vm", "group:ct/1"])
            #expect(try state.entry(.remote, "there")?.properties["port"] == 8008)
            #expect(try state.entry(.remote, "there")?.properties["password"] == nil)
        }
        let remote = try RemoteRegistry(database: database).remote("there")
        #expect(remote.password == "secret-text" && remote.authID.description == "sync@pbs!t")
    }

    @Test("is refused as a whole where a file cannot be understood")
    func refuses() throws {
        for (name, text) in [
            ("user.cfg", "# a comment\n"), ("acl.cfg", "acl:1:/\n"), ("shadow.json", "[]"),
            ("datastore.cfg", "\tpath /x\n"),
        ] {
            let folder = try Self.folder(Self.files.map { $0.name == name ? (name, text) : $0 })
            let database = try StateDatabase(folder: StateFolder(path: folder.path + "/state"))
            defer { database.close() }
            let failure = #expect(throws: BackupFailure.self, "\(name)") {
                try OriginalConfiguration(folder: folder.path).add(to: database)
            }
            #expect(failure?.kind == .corruptData && failure?.description.contains(name) == true)
            #expect(try database.read { try $0.users().isEmpty })
        }
        let empty = try TemporaryFolder()
        #expect(throws: BackupFailure.self) { try OriginalConfiguration(folder: empty.path) }
    }
}

import BackupFormats
import StateDatabase
import Testing

@testable import AccessControl

@Suite("Rights")
struct RightsTests {
    @Test("of the superuser are all of them everywhere, of its tokens only what was given")
    func superuser() async throws {
        let setting = try AccessSetting()
        try await setting.add("root@pam!t")
        #expect(try setting.held("root@pam", "/datastore/any") == Privileges.allNames)
        #expect(try setting.held("root@pam!t", "/datastore/any") == [])
        try setting.give(.datastoreAudit, "root@pam!t", "/datastore")
        #expect(try setting.held("root@pam!t", "/datastore/any") == ["Datastore.Audit"])
    }

    @Test("deeper in the tree replace those above")
    func deeper() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        try setting.give(.datastoreAdmin, "u@pbs", "/datastore/s")
        try setting.give(.datastoreAudit, "u@pbs", "/datastore/s/b")
        #expect(try setting.held("u@pbs", "/datastore/s").contains("Datastore.Modify"))
        #expect(try setting.held("u@pbs", "/datastore/s/a/deep").contains("Datastore.Modify"))
        #expect(try setting.held("u@pbs", "/datastore/s/b") == ["Datastore.Audit"])
        #expect(try setting.held("u@pbs", "/datastore/s/b/c") == ["Datastore.Audit"])
        #expect(try setting.held("u@pbs", "/datastore/other") == [])
        #expect(try setting.held("u@pbs", "/") == [])
    }

    @Test("are taken away by NoAccess, whatever else stands on the node")
    func noAccess() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        try setting.give(.admin, "u@pbs", "/")
        try setting.give(.noAccess, "u@pbs", "/datastore/s")
        try setting.give(.datastoreAdmin, "u@pbs", "/datastore/s")
        #expect(try setting.held("u@pbs", "/datastore/s") == [])
        #expect(try setting.held("u@pbs", "/datastore/s/ns") == [])
        #expect(try setting.held("u@pbs", "/datastore/t") == Privileges.allNames)
    }

    @Test("that do not propagate act on their own path only, and there replace those above")
    func propagation() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs", "v@pbs")
        try setting.give(.datastoreAdmin, "u@pbs", "/datastore/s", propagates: false)
        #expect(try setting.held("u@pbs", "/datastore/s").contains("Datastore.Modify"))
        #expect(try setting.held("u@pbs", "/datastore/s/ns") == [])
        try setting.give(.datastoreAudit, "v@pbs", "/datastore")
        try setting.give(.datastoreBackup, "v@pbs", "/datastore/s", propagates: false)
        #expect(try setting.held("v@pbs", "/datastore/s") == ["Datastore.Backup"])
        #expect(try setting.held("v@pbs", "/datastore/s/ns") == ["Datastore.Audit"])
    }

    @Test("of several roles on one node are joined")
    func union() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        try setting.give(.datastoreAudit, "u@pbs", "/datastore/s")
        try setting.give(.datastorePowerUser, "u@pbs", "/datastore/s")
        #expect(
            try setting.held("u@pbs", "/datastore/s") == ["Datastore.Audit", "Datastore.Backup", "Datastore.Prune"])
    }

    @Test("of a token are those that its user has, too")
    func token() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs", "u@pbs!none", "u@pbs!adm")
        try setting.give(.datastoreAudit, "u@pbs", "/datastore/s")
        try setting.give(.admin, "u@pbs!adm", "/")
        #expect(try setting.held("u@pbs!none", "/datastore/s") == [])
        #expect(try setting.held("u@pbs!adm", "/datastore/s") == ["Datastore.Audit"])
        #expect(try setting.held("u@pbs!adm", "/") == [])
    }

    @Test("are in force at once, and gone with the entry")
    func changes() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        try setting.give(.admin, "u@pbs", "/")
        #expect(try setting.held("u@pbs", "/") == Privileges.allNames)
        try setting.access.changeACL(
            ACLChange(path: .root, role: .admin, subject: try setting.id("u@pbs"), isRemoval: true), by: setting.root)
        #expect(try setting.held("u@pbs", "/") == [])
    }

    @Test("are proven by grants")
    func grants() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        try setting.give(.datastoreReader, "u@pbs", "/datastore/s")
        let path = AccessPath.datastore("s")
        let identity = try setting.identity("u@pbs")
        let grant = try setting.access.grant([.datastoreRead, .datastoreAudit], on: path, to: identity)
        #expect(grant.privileges == Role.datastoreReader.privileges)
        let failure = #expect(throws: BackupFailure.self) {
            try setting.access.grant(.datastoreBackup, on: path, to: identity)
        }
        #expect(failure?.kind == .notAuthorized)
        #expect(failure?.summary == "missing permissions 'Datastore.Backup' on '/datastore/s'")
        #expect(throws: BackupFailure.self) {
            try setting.access.grant([.datastoreRead, .datastoreBackup], on: path, to: identity)
        }
        #expect(
            try setting.access.grant(anyOf: [.datastoreRead, .datastoreBackup], on: path, to: identity).path == path)
    }

    @Test("to content are full, or need the owner, or are refused")
    func content() async throws {
        let setting = try AccessSetting()
        try await setting.add("full@pbs", "part@pbs", "none@pbs")
        try setting.give(.datastoreReader, "full@pbs", "/datastore/s")
        try setting.give(.datastoreBackup, "part@pbs", "/datastore/s/a")
        let namespace = try Namespace(parsing: "a")
        func ask(_ name: String) throws -> ContentGrant {
            try setting.access.contentGrant(
                full: .datastoreRead, partial: .datastoreBackup, store: "s", namespace: namespace,
                to: try setting.identity(name))
        }
        #expect(try !ask("full@pbs").requiresOwner)
        let partial = try ask("part@pbs")
        #expect(partial.requiresOwner)
        try partial.checkOwner(try setting.id("part@pbs!t"), of: "group host/x")
        let failure = #expect(throws: BackupFailure.self) {
            try partial.checkOwner(try setting.id("full@pbs"), of: "group host/x")
        }
        #expect(failure?.kind == .invalidInput)
        #expect(throws: BackupFailure.self) { try ask("none@pbs") }
    }

    @Test("below a path make it visible")
    func below() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        try setting.give(.datastoreBackup, "u@pbs", "/datastore/s/a/b")
        let id = try setting.id("u@pbs")
        #expect(setting.access.hasAny(.namespaceVisibility, onOrBelow: .datastore("s"), of: id))
        #expect(!setting.access.hasAny(.namespaceVisibility, onOrBelow: .datastore("t"), of: id))
        #expect(!setting.access.hasAny(.datastorePrune, onOrBelow: .datastore("s"), of: id))
    }

    @Test("are listed by path, with whether they propagate")
    func listing() async throws {
        let setting = try AccessSetting()
        try await setting.add("bk@pbs", "bk@pbs!t", "other@pbs")
        try setting.give(.datastoreBackup, "bk@pbs", "/datastore/s")
        try setting.give(.datastoreBackup, "bk@pbs!t", "/datastore/s", propagates: false)
        try setting.give(.datastoreAudit, "other@pbs", "/datastore/s/nsb")
        func list(_ subject: String?, _ path: String? = nil, by caller: String) throws -> [String: [String: Bool]] {
            let items = try setting.access.permissions(
                of: subject.map { try setting.id($0) }, on: path.map { try setting.place($0) },
                for: setting.identity(caller))
            return Dictionary(
                uniqueKeysWithValues: items.map { path, held in
                    (
                        path.description,
                        Dictionary(
                            uniqueKeysWithValues: held.privileges.names.map { name in
                                (name, Privileges(name: name).map { held.propagated.contains($0) } ?? false)
                            })
                    )
                })
        }
        #expect(
            try list(nil, by: "bk@pbs")
                == ["/datastore/s": ["Datastore.Backup": true], "/datastore/s/nsb": ["Datastore.Backup": true]])
        #expect(try list("bk@pbs!t", by: "bk@pbs") == ["/datastore/s": ["Datastore.Backup": false]])
        #expect(try list(nil, "/datastore/t", by: "bk@pbs") == [:])
        let all = try list(nil, by: "root@pam")
        #expect(
            Set(all.keys) == ["/", "/access", "/datastore", "/datastore/s", "/datastore/s/nsb", "/remote", "/system"])
        #expect(all.values.allSatisfy { $0.count == 23 && $0.values.allSatisfy { $0 } })
        #expect(throws: BackupFailure.self) { try list("other@pbs", by: "bk@pbs") }
        try setting.give(.audit, "bk@pbs", "/access")
        #expect(try list("other@pbs", by: "bk@pbs").count == 1)
    }
}

@Suite("Ownership")
struct OwnershipTests {
    static func id(_ text: String) throws -> AuthID { try #require(AuthID(parsing: text)) }

    @Test(
        "is with the owner and the owner's user",
        arguments: [
            ("u@pbs", "u@pbs", true), ("u@pbs!t", "u@pbs!t", true), ("u@pbs!t", "u@pbs", true),
            ("u@pbs", "u@pbs!t", false),
            ("u@pbs!t", "u@pbs!s", false), ("u@pbs", "v@pbs", false), ("u@pbs!t", "v@pbs", false),
        ])
    func accepts(owner: String, caller: String, isAccepted: Bool) throws {
        #expect(try Ownership.accepts(owner: Self.id(owner), caller: Self.id(caller)) == isAccepted)
    }

    @Test(
        "is handed on by the user itself, between it and its tokens",
        arguments: [
            ("u@pbs", "u@pbs!t", "u@pbs", true), ("u@pbs!t", "u@pbs", "u@pbs", true),
            ("u@pbs!t", "u@pbs!s", "u@pbs", true),
            ("u@pbs", "v@pbs", "u@pbs", false), ("u@pbs", "v@pbs!t", "u@pbs", false),
            ("v@pbs!t", "u@pbs", "u@pbs", false),
            ("u@pbs!t", "u@pbs", "u@pbs!t", false), ("u@pbs", "u@pbs!t", "u@pbs!t", false),
        ])
    func handsOn(old: String, new: String, caller: String, isAllowed: Bool) throws {
        #expect(
            try Ownership.mayHandOn(from: Self.id(old), to: Self.id(new), caller: Self.id(caller)) == isAllowed)
    }
}

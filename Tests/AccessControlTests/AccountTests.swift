import BackupFormats
import Platform
import StateDatabase
import Testing

@testable import AccessControl

@Suite("Accounts")
struct AccountTests {
    @Test("of users are made, read, changed and removed")
    func userLife() async throws {
        let setting = try AccessSetting()
        let (access, root) = (setting.access, setting.root)
        let id = try setting.id("life@pbs")
        try await access.addUser(NewUser(id: id, password: "long enough", firstName: "Al"), by: root)
        await expectRefusal(.invalidInput) { try await access.addUser(NewUser(id: id), by: root) }
        #expect(try access.user(id, for: root).items.first?.firstName == "Al")
        let digest = access.users(for: root).digest
        try access.changeUser(id, UserChange(comment: .set("c"), firstName: .clear), digest: digest, by: root)
        let user = try #require(try access.user(id, for: root).items.first)
        #expect(user.comment == "c" && user.firstName == nil)
        #expect(access.users(for: root).digest != digest)
        await expectRefusal(.invalidInput) { try access.changeUser(id, UserChange(), digest: digest, by: root) }
        try await setting.add("life@pbs!t")
        try setting.give(.admin, "life@pbs", "/")
        try setting.give(.admin, "life@pbs!t", "/datastore")
        try access.removeUser(id, digest: nil, by: root)
        await expectRefusal(.noSuchObject) { try access.user(id, for: root) }
        await expectRefusal(.noSuchObject) { try access.removeUser(id, digest: nil, by: root) }
        // Nothing of it comes back with a new user of that name.
        try await setting.add("life@pbs", "life@pbs!t")
        #expect(try setting.held("life@pbs", "/") == [])
        #expect(access.aclEntries(for: root).items.isEmpty)
    }

    @Test("need privileges, save one's own")
    func callers() async throws {
        let setting = try AccessSetting()
        let access = setting.access
        try await setting.add("u@pbs", "v@pbs", "auditor@pbs", "admin@pbs", "u@pbs!t")
        try setting.give(.audit, "auditor@pbs", "/access")
        try setting.give(.admin, "admin@pbs", "/access")
        let (u, v) = (try setting.id("u@pbs"), try setting.id("v@pbs"))
        let (self_, auditor, admin) = (
            try setting.identity("u@pbs"), try setting.identity("auditor@pbs"), try setting.identity("admin@pbs")
        )
        #expect(access.users(for: self_).items.map(\.id) == [u])
        #expect(access.users(for: auditor).items.count == 5)
        #expect(access.users(for: auditor).items.first?.id == .root)
        _ = try access.user(u, for: self_)
        _ = try access.user(v, for: auditor)
        await expectRefusal(.notAuthorized) { try access.user(v, for: self_) }
        await expectRefusal(.notAuthorized) { try await access.addUser(NewUser(id: setting.id("w@pbs")), by: auditor) }
        try access.changeUser(u, UserChange(comment: .set("mine")), digest: nil, by: self_)
        await expectRefusal(.notAuthorized) { try access.changeUser(u, UserChange(expire: 0), digest: nil, by: self_) }
        await expectRefusal(.notAuthorized) { try access.changeUser(v, UserChange(), digest: nil, by: self_) }
        await expectRefusal(.notAuthorized) {
            try access.addToken(setting.id("u@pbs!new"), by: setting.identity("u@pbs!t"))
        }
        _ = try access.addToken(setting.id("u@pbs!new"), by: self_)
        #expect(try access.tokens(of: u, for: self_).items.count == 2)
        // A token reads what its user reads about itself, but changes nothing.
        let token = try setting.identity("u@pbs!t")
        #expect(access.users(for: token).items.map(\.id) == [u])
        #expect(try access.tokens(of: u, for: token).items.count == 2)
        #expect(try access.user(u, for: token).items.count == 1)
        await expectRefusal(.notAuthorized) { try access.user(v, for: token) }
        await expectRefusal(.notAuthorized) { try access.changeUser(u, UserChange(), digest: nil, by: token) }
        await expectRefusal(.notAuthorized) { try access.tokens(of: v, for: self_) }
        await expectRefusal(.invalidInput) { try access.addToken(setting.id("u@pbs!new"), by: self_) }
        await expectRefusal(.noSuchObject) { try access.addToken(setting.id("gone@pbs!new"), by: admin) }
        await expectRefusal(.noSuchObject) { try access.token(setting.id("u@pbs!gone"), for: self_) }
        try access.removeUser(v, digest: nil, by: admin)
    }

    @Test("keep the rules for names, passwords and realms")
    func rules() async throws {
        let setting = try AccessSetting()
        let id = try setting.id("u@pbs")
        for user in [
            NewUser(id: id, password: "short-7"), NewUser(id: id, password: String(repeating: "x", count: 65)),
            NewUser(id: id, password: "with\tcontrol"), NewUser(id: id, firstName: "A"),
            NewUser(id: id, comment: "a\nb"),
            NewUser(id: id, expire: -1), NewUser(id: try setting.id("u@elsewhere")),
            NewUser(id: try setting.id("u@pbs!t")),
        ] {
            await expectRefusal(.invalidInput) { try await setting.access.addUser(user, by: setting.root) }
        }
        await expectRefusal(.unsupported) {
            try await setting.access.addUser(
                NewUser(id: setting.id("u@pam"), password: "long enough"), by: setting.root)
        }
        await expectRefusal(.invalidInput) { try setting.access.removeUser(.root, digest: nil, by: setting.root) }
        await expectRefusal(.invalidInput) {
            try setting.access.changeUser(.root, UserChange(isEnabled: false), digest: nil, by: setting.root)
        }
        try setting.access.changeUser(.root, UserChange(email: .set("r@example.org")), digest: nil, by: setting.root)
        #expect(setting.access.users(for: setting.root).items.map(\.email) == ["r@example.org"])
    }

    @Test("get new passwords from those who know the current one, and from administrators")
    func passwords() async throws {
        let (setting, _) = try await AuthenticationTests.loggedIn()
        let access = setting.access
        try await setting.add("v@pbs", "u@pbs!t")
        let (u, v) = (try setting.id("u@pbs"), try setting.id("v@pbs"))
        let caller = try setting.identity("u@pbs")
        let (old, new) = (AuthenticationTests.password, "another-pass-1")
        await expectRefusal(.notAuthenticated) {
            try await access.changePassword(of: u, to: new, confirmation: old, by: setting.identity("u@pbs!t"))
        }
        await expectRefusal(.notAuthenticated) {
            try await access.changePassword(of: u, to: new, confirmation: nil, by: caller)
        }
        await expectRefusal(.notAuthenticated) {
            try await access.changePassword(of: u, to: new, confirmation: new, by: caller)
        }
        await expectRefusal(.notAuthorized) {
            try await access.changePassword(of: v, to: new, confirmation: old, by: caller)
        }
        try await access.changePassword(of: u, to: new, confirmation: old, by: caller)
        await expectRefusal(.notAuthenticated) { try await AuthenticationTests.login(setting, old) }
        _ = try await AuthenticationTests.login(setting, new)
        try setting.give(.admin, "u@pbs", "/")
        try await access.changePassword(of: v, to: old, confirmation: new, by: caller)
        _ = try await AuthenticationTests.login(setting, old, user: "v@pbs")
        try await access.changePassword(of: v, to: new, confirmation: nil, by: setting.root)
        await expectRefusal(.unsupported) {
            try await access.changePassword(of: .root, to: new, confirmation: nil, by: setting.root)
        }
        await expectRefusal(.noSuchObject) {
            try await access.changePassword(of: setting.id("gone@pbs"), to: new, confirmation: nil, by: setting.root)
        }
    }

    @Test("begin with an administrator whose password is random, once")
    func firstStart() async throws {
        let setting = try AccessSetting()
        let first = try #require(try await setting.access.prepareFirstStart())
        #expect(first.userID.description == "admin@pbs")
        #expect(first.password.count == 20)
        let path = try setting.access.writeInitialPassword(first)
        #expect(try FileSystem.status(path)?.mode == 0o600)
        #expect(try FileSystem.read(path, limit: 100) == Array("\(first.password)\n".utf8))
        _ = try await AuthenticationTests.login(setting, first.password, user: "admin@pbs")
        #expect(try setting.held("admin@pbs", "/datastore/s") == Privileges.allNames)
        #expect(try await setting.access.prepareFirstStart() == nil)
    }
}

@Suite("Access entries")
struct ACLTests {
    @Test("are added and removed by administrators, for known ids on valid paths")
    func administrator() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs", "u@pbs!t", "admin@pbs")
        try setting.give(.admin, "admin@pbs", "/access")
        let admin = try setting.identity("admin@pbs")
        func change(_ subject: String, _ path: String, isRemoval: Bool = false, digest: String? = nil) throws {
            try setting.access.changeACL(
                ACLChange(path: setting.place(path), role: .audit, subject: setting.id(subject), isRemoval: isRemoval),
                digest: digest, by: admin)
        }
        try change("u@pbs", "/datastore/s")
        try change("u@pbs!t", "/datastore/s/ns")
        await expectRefusal(.invalidInput) { try change("gone@pbs", "/datastore/s") }
        await expectRefusal(.invalidInput) { try change("u@pbs!gone", "/datastore/s") }
        await expectRefusal(.invalidInput) { try change("u@pbs", "/nowhere") }
        await expectRefusal(.invalidInput) { try change("u@pbs", "/", digest: String(repeating: "1", count: 64)) }
        try change("u@pbs", "/", digest: setting.access.aclEntries(for: admin).digest)
        // What is there may go from everywhere, and what is not there as well.
        try change("u@pbs", "/nowhere", isRemoval: true)
        try change("u@pbs", "/", isRemoval: true)
        func paths(_ path: String?, isExact: Bool = false) throws -> [String] {
            setting.access.aclEntries(on: try path.map { try setting.place($0) }, isExact: isExact, for: admin).items
                .map(\.path)
        }
        #expect(try paths(nil) == ["/access", "/datastore/s", "/datastore/s/ns"])
        #expect(try paths("/datastore") == ["/datastore/s", "/datastore/s/ns"])
        #expect(try paths("/datastore/s", isExact: true) == ["/datastore/s"])
        #expect(try paths("/datastore", isExact: true) == [])
    }

    @Test("of own tokens are everybody's, but no token's")
    func ownTokens() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs", "u@pbs!t", "v@pbs", "v@pbs!t")
        try setting.give(.datastoreBackup, "v@pbs", "/datastore/s")
        func change(_ subject: String, by caller: String) throws {
            try setting.access.changeACL(
                ACLChange(path: .datastore("s"), role: .datastoreBackup, subject: setting.id(subject)),
                by: setting.identity(caller))
        }
        try change("u@pbs!t", by: "u@pbs")
        for (subject, caller) in [
            ("u@pbs", "u@pbs"), ("v@pbs", "u@pbs"), ("v@pbs!t", "u@pbs"), ("u@pbs!t", "u@pbs!t"),
        ] {
            await expectRefusal(.invalidInput) { try change(subject, by: caller) }
        }
        #expect(
            setting.access.aclEntries(for: try setting.identity("u@pbs")).items.map(\.subject.description) == [
                "u@pbs!t"
            ])
        #expect(setting.access.aclEntries(for: try setting.identity("v@pbs")).items.isEmpty)
    }
}

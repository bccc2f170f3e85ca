import BackupFormats
import Platform
import StateDatabase
import Synchronization
import Testing

@testable import AccessControl

@Suite("Authentication")
struct AuthenticationTests {
    static let password = "conform-pass-1"

    /// A setting with `u@pbs`, who has the password, and a login.
    static func loggedIn() async throws -> (AccessSetting, LoginResult) {
        let setting = try AccessSetting()
        try await setting.access.addUser(NewUser(id: setting.id("u@pbs"), password: password), by: setting.root)
        return (setting, try await login(setting, password))
    }

    static func login(_ setting: AccessSetting, _ password: String, user: String = "u@pbs") async throws -> LoginResult
    {
        try await setting.access.login(
            LoginRequest(userID: setting.id(user), password: password, peer: "192.0.2.1:1"))
    }

    @Test("by cookie takes raw and encoded tickets, among others, in any Cookie header")
    func cookies() async throws {
        let (setting, login) = try await Self.loggedIn()
        let encoded = login.ticket.flatMap { ":+/@".contains($0) ? "%\(Hex.encode($0.utf8).uppercased())" : "\($0)" }
        for value in [login.ticket, String(encoded)] {
            #expect(try await setting.get([("cookie", "PBSAuthCookie=\(value)")]).description == "u@pbs")
            #expect(try await setting.get([("cookie", "a=b; PBSAuthCookie=\(value); c=d")]).description == "u@pbs")
            #expect(
                try await setting.get([("cookie", "a=b"), ("cookie", "PBSAuthCookie=\(value)")]).description == "u@pbs")
            #expect(try await setting.get([("cookie", "__Host-PBSAuthCookie=\(value)")]).description == "u@pbs")
        }
        #expect(
            try await setting.get([("cookie", "PBSAuthCookie=x; __Host-PBSAuthCookie=\(login.ticket)")]).description
                == "u@pbs")
        await expectRefusal(.notAuthenticated) {
            try await setting.get([("cookie", "PBSAuthCookie=\(login.ticket); __Host-PBSAuthCookie=x")])
        }
        for bad in [
            "PBSAuthCookie=nonsense", "PBSAuthCookie=", "PVEAuthCookie=\(login.ticket)",
            "PBSAuthCookie=\(login.ticket)A",
        ] {
            await expectRefusal(.notAuthenticated) { try await setting.get([("cookie", bad)]) }
        }
    }

    @Test("by cookie needs the CSRF token for all methods but GET")
    func csrf() async throws {
        let (setting, login) = try await Self.loggedIn()
        let cookie = (name: "cookie", value: "PBSAuthCookie=\(login.ticket)")
        for method in ["POST", "PUT", "DELETE", "HEAD"] {
            await expectRefusal(.notAuthenticated) { try await setting.get([cookie], method: method) }
            await expectRefusal(.notAuthenticated) {
                try await setting.get([cookie, ("csrfpreventiontoken", "00000000:AAAA")], method: method)
            }
            #expect(
                try await setting.get([cookie, ("csrfpreventiontoken", login.csrfToken)], method: method).description
                    == "u@pbs")
        }
    }

    @Test("ends with the ticket's time and with the account")
    func ends() async throws {
        let (setting, login) = try await Self.loggedIn()
        let cookie = [(name: "cookie", value: "PBSAuthCookie=\(login.ticket)")]
        let user = try setting.id("u@pbs")
        try setting.access.changeUser(user, UserChange(isEnabled: false), digest: nil, by: setting.root)
        await expectRefusal(.notAuthenticated) { try await setting.get(cookie) }
        #expect(!setting.access.isActive(user))
        try setting.access.changeUser(
            user, UserChange(isEnabled: true, expire: setting.clock.seconds + 100), digest: nil, by: setting.root)
        #expect(try await setting.get(cookie) == user)
        setting.clock.move(by: 100)
        await expectRefusal(.notAuthenticated) { try await setting.get(cookie) }
        try setting.access.changeUser(user, UserChange(expire: 0), digest: nil, by: setting.root)
        #expect(try await setting.get(cookie) == user)
        setting.clock.move(by: 7101)
        await expectRefusal(.notAuthenticated) { try await setting.get(cookie) }
    }

    @Test("by token takes a blank or an equals sign, and a colon")
    func tokens() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs", "u@pbs!other")
        let id = try setting.id("u@pbs!t1")
        let secret = try setting.access.addToken(id, by: setting.root)
        #expect(secret.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
        func use(_ value: String, method: String = "GET") async throws -> AuthID {
            try await setting.get([("authorization", value)], method: method)
        }
        #expect(try await use("PBSAPIToken=u@pbs!t1:\(secret)") == id)
        #expect(try await use("PBSAPIToken u@pbs!t1:\(secret)", method: "POST") == id)
        #expect(try await use("PBSAPIToken=u@pbs!t1:\(secret.replacing("-", with: "%2D"))") == id)
        #expect(
            try await setting.get([("cookie", "other=1"), ("authorization", "PBSAPIToken=u@pbs!t1:\(secret)")]) == id)
        for bad in [
            "PBSAPIToken=u@pbs!t1=\(secret)", "PBSAPIToken  u@pbs!t1:\(secret)", "PVEAPIToken=u@pbs!t1:\(secret)",
            "PBSAPIToken=u@pbs!t1:00000000-0000-0000-0000-000000000000", "PBSAPIToken=u@pbs:\(secret)",
            "PBSAPIToken=u@pbs!other:\(secret)", "PBSAPIToken=u@pbs!zz:\(secret)", "Basic dXNlcjpwYXNz", "PBSAPIToken",
            "PBSAPIToken=", "PBSAPIToken=u@pbs!t1:", "PBSAPIToken:u@pbs!t1:\(secret)",
        ] {
            await expectRefusal(.notAuthenticated) { try await use(bad) }
        }
        // A cookie is looked at alone.
        await expectRefusal(.notAuthenticated) {
            try await setting.get([("cookie", "PBSAuthCookie=x"), ("authorization", "PBSAPIToken=u@pbs!t1:\(secret)")])
        }
    }

    @Test("by token ends with the token, with its user, and with a new secret")
    func tokenEnds() async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        let id = try setting.id("u@pbs!t1")
        let secret = try setting.access.addToken(id, by: setting.root)
        func isAccepted(_ secret: String) async -> Bool {
            (try? await setting.get([("authorization", "PBSAPIToken=u@pbs!t1:\(secret)")])) == id
        }
        #expect(await isAccepted(secret))
        try setting.access.changeToken(id, TokenChange(isEnabled: false), by: setting.root)
        #expect(await !isAccepted(secret))
        try setting.access.changeToken(id, TokenChange(isEnabled: true, expire: 1), by: setting.root)
        #expect(await !isAccepted(secret))
        try setting.access.changeToken(id, TokenChange(expire: 0), by: setting.root)
        #expect(await isAccepted(secret))
        try setting.access.changeUser(id.user, UserChange(isEnabled: false), digest: nil, by: setting.root)
        #expect(await !isAccepted(secret))
        try setting.access.changeUser(id.user, UserChange(isEnabled: true), digest: nil, by: setting.root)
        let fresh = try #require(
            try setting.access.changeToken(id, TokenChange(), isRegenerated: true, by: setting.root))
        #expect(await !isAccepted(secret))
        #expect(await isAccepted(fresh))
        try setting.access.removeToken(id, by: setting.root)
        #expect(await !isAccepted(fresh))
    }

    @Test(
        "by token knows hashes of other servers",
        arguments: [
            "$5$abcdefgh$ZMoW4BQt3vNadsBchYtt2Qb/YGh9syFLT/P2kn/ddj/",
            "$y$j9T$abcdefghijklmnop$J6uUw2Evv5ohBH2ROIDSsrLDVqQYjfbmSta5uR1BDO0",
        ])
    func importedTokens(hash: String) async throws {
        let setting = try AccessSetting()
        try await setting.add("u@pbs")
        let id = try setting.id("u@pbs!old")
        try await setting.database.write { try $0.put(TokenRecord(id: id, secretHash: hash)) }
        try setting.access.reload()
        for _ in 0..<2 {
            #expect(
                try await setting.get([("authorization", "PBSAPIToken=u@pbs!old:secret-one")])
                    == setting.id("u@pbs!old"))
            await expectRefusal(.notAuthenticated) {
                try await setting.get([("authorization", "PBSAPIToken=u@pbs!old:secret-two")])
            }
        }
        #expect(setting.access.verifiedSecrets.withLock { $0.count } == 1)
    }

    @Test("by the local secret is root's, from this machine, without a proxy, while it is published")
    func local() async throws {
        let setting = try AccessSetting()
        try setting.access.publishLocalAdmin(address: "127.0.0.1:8007", fingerprint: "aa:bb", pid: 7)
        let secret = String(decoding: try #require(try setting.folder.read("local-admin.token")), as: UTF8.self).prefix
        { $0 != "\n" }
        #expect(secret.count == 64)
        let server = try JSONValue(parsing: try #require(try setting.folder.read("server.json")))
        #expect(server == ["pid": 7, "address": "127.0.0.1:8007", "fingerprint": "aa:bb"])
        for name in ["local-admin.token", "server.json"] {
            #expect(try FileSystem.status(setting.folder.path(of: name))?.mode == 0o600)
        }
        let header = (name: "authorization", value: "CairnLocal \(secret)")
        for peer in ["127.0.0.1:55", "127.0.0.1", "[::1]:55", "::1", "[::ffff:127.0.0.1]:9", "127.8.9.1:1"] {
            #expect(try await setting.get([header], method: "POST", peer: peer) == .root)
        }
        for peer in [
            "192.0.2.1:55", "[fe80::1]:55", "", "127.0.0.1.example.org:1", "[::ffff:192.0.2.1]:9", "1127.0.0.1",
        ] {
            await expectRefusal(.notAuthenticated) { try await setting.get([header], peer: peer) }
        }
        await expectRefusal(.notAuthenticated) {
            try await setting.get([header, ("x-forwarded-for", "192.0.2.1")], peer: "127.0.0.1:55")
        }
        await expectRefusal(.notAuthenticated) {
            try await setting.get([("authorization", "CairnLocal \(secret.dropLast())0")], peer: "127.0.0.1:55")
        }
        // A server that listens on one address only is called from that address.
        try setting.access.publishLocalAdmin(address: "192.0.2.7:8007", fingerprint: "aa:bb", pid: 7)
        let next = String(decoding: try #require(try setting.folder.read("local-admin.token")), as: UTF8.self).prefix {
            $0 != "\n"
        }
        #expect(next != secret)
        await expectRefusal(.notAuthenticated) { try await setting.get([header], peer: "127.0.0.1:55") }
        #expect(try await setting.get([("authorization", "CairnLocal \(next)")], peer: "192.0.2.7:55") == .root)
        await expectRefusal(.notAuthenticated) {
            try await setting.get([("authorization", "CairnLocal \(next)")], peer: "192.0.2.8:55")
        }
        try setting.access.withdrawLocalAdmin()
        await expectRefusal(.notAuthenticated) { try await setting.get([header], peer: "127.0.0.1:55") }
        #expect(try setting.folder.read("local-admin.token") == nil)
    }

    @Test("survives a restart of the server")
    func restart() async throws {
        let (setting, login) = try await Self.loggedIn()
        let again = try AccessSetting.open(setting.database, setting.clock)
        let headers = [
            (name: "cookie", value: "PBSAuthCookie=\(login.ticket)"),
            (name: "csrfpreventiontoken", value: login.csrfToken),
        ]
        #expect(try await again.authenticate(method: "POST", headers: headers, peer: "").authID.description == "u@pbs")
    }
}

@Suite("A login")
struct LoginTests {
    @Test("needs the right password of an active user, and fails with one text")
    func failures() async throws {
        let (setting, _) = try await AuthenticationTests.loggedIn()
        try await setting.access.addUser(
            NewUser(id: setting.id("dis@pbs"), password: AuthenticationTests.password, isEnabled: false),
            by: setting.root)
        try await setting.access.addUser(
            NewUser(id: setting.id("exp@pbs"), password: AuthenticationTests.password, expire: 1), by: setting.root)
        try await setting.add("none@pbs", "x@pam")
        for (user, password) in [
            ("u@pbs", "wrong-pass-1"), ("nosuch@pbs", AuthenticationTests.password),
            ("dis@pbs", AuthenticationTests.password),
            ("exp@pbs", AuthenticationTests.password), ("U@pbs", AuthenticationTests.password), ("none@pbs", ""),
            ("root@pam", AuthenticationTests.password), ("x@pam", ""), ("u@pbs!t", AuthenticationTests.password),
        ] {
            let failure = await #expect(throws: BackupFailure.self) {
                try await AuthenticationTests.login(setting, password, user: user)
            }
            #expect(failure?.kind == .notAuthenticated)
            #expect(failure?.description == "permission check failed.")
        }
    }

    @Test("with a current ticket of the same user renews it")
    func renewal() async throws {
        let (setting, login) = try await AuthenticationTests.loggedIn()
        try await setting.access.addUser(
            NewUser(id: setting.id("v@pbs"), password: AuthenticationTests.password), by: setting.root)
        setting.clock.move(by: 7200)
        let renewed = try await AuthenticationTests.login(setting, login.ticket)
        #expect(renewed.ticket != login.ticket)
        await expectRefusal(.notAuthenticated) {
            try await AuthenticationTests.login(setting, login.ticket, user: "v@pbs")
        }
        await expectRefusal(.notAuthenticated) { try await AuthenticationTests.login(setting, login.ticket + "A") }
        setting.clock.move(by: 1)
        await expectRefusal(.notAuthenticated) { try await AuthenticationTests.login(setting, login.ticket) }
        _ = try await AuthenticationTests.login(setting, renewed.ticket)
    }

    @Test("for a browser renews from the cookie, and takes no ticket as password")
    func httpOnly() async throws {
        let (setting, login) = try await AuthenticationTests.loggedIn()
        func ask(_ password: String?, cookie: String?) async throws -> LoginResult {
            try await setting.access.login(
                LoginRequest(
                    userID: setting.id("u@pbs"), password: password, isHTTPOnly: true,
                    headers: cookie.map { [("cookie", "__Host-PBSAuthCookie=\($0)")] } ?? [], peer: ""))
        }
        let result = try await ask(nil, cookie: login.ticket)
        #expect(result.ticketInfo.hasSuffix("::ticketinfo"))
        #expect(
            AuthCookie.setting("PBS:a@b:00000000::AA+/")
                == "__Host-PBSAuthCookie=PBS%3Aa@b%3A00000000%3A%3AAA+/; Secure; SameSite=Lax; HttpOnly; Path=/;")
        _ = try await ask(AuthenticationTests.password, cookie: "stale")
        await expectRefusal(.notAuthenticated) { try await ask(nil, cookie: "stale") }
        await expectRefusal(.notAuthenticated) { try await ask(login.ticket, cookie: nil) }
        await expectRefusal(.notAuthenticated) { try await ask(nil, cookie: nil) }
    }

    @Test("that answers a second factor is said to be unsupported")
    func secondFactor() async throws {
        let (setting, _) = try await AuthenticationTests.loggedIn()
        await expectRefusal(.unsupported) {
            try await setting.access.login(
                LoginRequest(userID: setting.id("u@pbs"), password: "totp:123456", tfaChallenge: "PBS:!tfa!", peer: ""))
        }
    }

    @Test("replaces a hash of an old scheme")
    func rehash() async throws {
        let setting = try AccessSetting()
        let id = try setting.id("old@pbs")
        let old = "$5$abcdefgh$ZMoW4BQt3vNadsBchYtt2Qb/YGh9syFLT/P2kn/ddj/"
        try await setting.database.write { try $0.put(UserRecord(id: id, passwordHash: old)) }
        try setting.access.reload()
        await expectRefusal(.notAuthenticated) {
            try await AuthenticationTests.login(setting, "secret-two", user: "old@pbs")
        }
        #expect(setting.access.current.user(id)?.passwordHash == old)
        _ = try await AuthenticationTests.login(setting, "secret-one", user: "old@pbs")
        let hash = try #require(setting.access.current.user(id)?.passwordHash)
        #expect(hash.hasPrefix("$y$j9T$"))
        _ = try await AuthenticationTests.login(setting, "secret-one", user: "old@pbs")
        #expect(setting.access.current.user(id)?.passwordHash == hash)
    }

    @Test("waits for a core in a bounded queue, and is put off beyond it")
    func bounded() async throws {
        let hashing = PasswordHasher(width: 1, queueLimit: 2)
        let outcomes = await withTaskGroup(of: BackupFailure.Kind?.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    do {
                        _ = try await hashing.hash("secret-one")
                        return nil
                    } catch {
                        return (error as? BackupFailure)?.kind ?? .internalFault
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.contains(nil))
        #expect(outcomes.contains(.unavailable))
        #expect(outcomes.allSatisfy { $0 == nil || $0 == .unavailable })
    }
}

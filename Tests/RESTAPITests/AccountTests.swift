import AccessControl
import BackupFormats
import Testing

@Suite("Accounts and rights over REST")
struct AccountTests {
    let world: World
    let admin: World.Caller
    let bob: World.Caller

    init() async throws {
        world = try World()
        try world.addStore("store1")
        admin = try await world.user("admin", .admin)
        bob = try await world.user("bob", .datastoreBackup, on: "/datastore/store1")
    }

    @Test("log in by JSON, form and query, and renew")
    func logIn() async throws {
        let parameters = [("username", "bob@pbs"), ("password", "secret-bob")]
        let json = try await world.send(
            "POST", "/access/ticket", json: ["username": "bob@pbs", "password": "secret-bob"])
        let ticket = try #require(json.data["ticket"]?.stringValue)
        #expect(ticket.hasPrefix("PBS:bob@pbs:") && json.data["username"] == "bob@pbs")
        #expect(json.data["CSRFPreventionToken"]?.stringValue?.contains(":") == true)
        #expect(try await world.send("POST", "/access/ticket", form: parameters).status == 200)
        #expect(try await world.send("POST", "/access/ticket", query: parameters).status == 200)
        #expect(
            try await world.send("POST", "/access/ticket", json: ["username": "bob@pbs", "password": .string(ticket)])
                .status
                == 200)
    }

    @Test("put the ticket into a cookie on request, and take it back")
    func httpOnly() async throws {
        let reply = try await world.send(
            "POST", "/access/ticket", json: ["username": "bob@pbs", "password": "secret-bob", "http-only": true])
        let cookie = try #require(reply.header("set-cookie"))
        for part in ["__Host-PBSAuthCookie=PBS", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            #expect(cookie.contains(part), "\(part)")
        }
        #expect(reply.data["ticket"] == nil)
        #expect(reply.data["ticket-info"]?.stringValue?.hasPrefix("PBS:bob@pbs:") == true)
        let sent = String(cookie.prefix { $0 != ";" })
        #expect(try await world.send("GET", "/version", headers: [("cookie", sent)]).status == 200)
        let out = try await world.send("DELETE", "/access/ticket")
        #expect(out.status == 200 && out.header("set-cookie")?.hasPrefix("__Host-PBSAuthCookie=;") == true)
    }

    @Test("give one text for every failed login, and another for wrong parameters")
    func failedLogin() async throws {
        for (user, password) in [("bob@pbs", "wrong"), ("nobody@pbs", "secret-bob"), ("BOB@pbs", "secret-bob")] {
            let reply = try await world.send(
                "POST", "/access/ticket", json: ["username": .string(user), "password": .string(password)])
            #expect(reply.status == 401 && reply.text == "permission check failed.", "\(user)")
        }
        for body: JSONValue in [
            ["username": "bob@pbs"], ["username": "bob", "password": "x"], ["username": "bob@pbs!t", "password": "x"],
            ["username": "bob@pbs", "password": ""],
        ] {
            #expect(try await world.send("POST", "/access/ticket", json: body).status == 400, "\(body)")
        }
        let extjs = try await world.reply(
            await world.answer("POST", "/api2/extjs/access/ticket", json: ["username": "bob@pbs", "password": "no"]))
        #expect(extjs.status == 200 && extjs.json["status"] == 401 && extjs.json["errors"] == [:])
    }

    @Test("need the CSRF token for writing with a cookie, not with a token")
    func csrf() async throws {
        guard case .user(let ticket, _) = admin else { return }
        let bare = World.Caller.user(ticket: ticket, csrf: "")
        #expect(try await world.send("GET", "/access/roles", as: bare).status == 200)
        #expect(try await world.send("POST", "/access/users", as: bare, json: ["userid": "x@pbs"]).status == 401)
        let token = try world.token("t1", of: "admin", .admin)
        #expect(try await world.send("POST", "/access/users", as: token, json: ["userid": "xyz@pbs"]).status == 200)
    }

    @Test("are made, read, changed and removed")
    func life() async throws {
        let made = try await world.send(
            "POST", "/access/users", as: admin,
            json: ["userid": "life@pbs", "password": "long enough", "firstname": "Al"])
        #expect(made.status == 200 && made.data == .null)
        #expect(try await world.send("POST", "/access/users", as: admin, json: ["userid": "life@pbs"]).status == 400)
        let read = try await world.send("GET", "/access/users/life@pbs", as: admin)
        #expect(read.data == ["userid": "life@pbs", "firstname": "Al"])
        let digest = try #require(read.json["digest"]?.stringValue)
        let stale = try await world.send(
            "PUT", "/access/users/life@pbs", as: admin,
            json: ["comment": "x", "digest": .string(String(repeating: "1", count: 64))])
        #expect(stale.status == 400)
        let changed = try await world.send(
            "PUT", "/access/users/life@pbs", as: admin,
            json: ["comment": "c", "delete": ["firstname"], "digest": .string(digest)])
        #expect(changed.status == 200)
        #expect(
            try await world.send("GET", "/access/users/life@pbs", as: admin).data == [
                "userid": "life@pbs", "comment": "c",
            ])
        #expect(try await world.send("DELETE", "/access/users/life@pbs", as: admin).status == 200)
        #expect(try await world.send("GET", "/access/users/life@pbs", as: admin).status == 400)
        let short = try await world.send(
            "POST", "/access/users", as: admin, json: ["userid": "a@pbs", "password": "abcd"])
        #expect(short.text.contains("'password': value must be at least 8 characters long"))
    }

    @Test("see themselves, and others only with the privilege")
    func visibility() async throws {
        #expect(
            try await world.send("GET", "/access/users", as: bob).data.arrayValue?.map { $0["userid"] } == ["bob@pbs"])
        #expect(try await world.send("GET", "/access/users/bob@pbs", as: bob).status == 200)
        #expect(try await world.send("GET", "/access/users/admin@pbs", as: bob).status == 403)
        #expect(try await world.send("POST", "/access/users", as: bob, json: ["userid": "new@pbs"]).status == 403)
        let all = try await world.send("GET", "/access/users", as: admin, query: [("include_tokens", "1")])
        #expect(all.data.arrayValue?.allSatisfy { $0["tokens"] != nil } == true)
    }

    @Test("have tokens whose secret is shown once")
    func tokens() async throws {
        let path = "/access/users/bob@pbs/token/t1"
        let made = try await world.send("POST", path, as: bob, json: ["comment": "for the script"])
        let secret = try #require(made.data["value"]?.stringValue)
        #expect(made.data["tokenid"] == "bob@pbs!t1")
        let id = try #require(AuthID(parsing: "bob@pbs!t1"))
        #expect(try await world.send("GET", "/version", as: .token(id: id, secret: secret)).status == 200)
        let list = try await world.send("GET", "/access/users/bob@pbs/token", as: bob)
        #expect(list.data == [["tokenid": "bob@pbs!t1", "comment": "for the script", "token-name": "t1"]])
        let fresh = try await world.send("PUT", path, as: bob, json: ["regenerate": true, "enable": true])
        #expect(fresh.data["secret"]?.stringValue != secret)
        #expect(try await world.send("GET", "/version", as: .token(id: id, secret: secret)).status == 401)
        #expect(try await world.send("PUT", path, as: bob, json: ["delete": ["comment"]]).data == .null)
        #expect(try await world.send("DELETE", path, as: bob).status == 200)
        #expect(try await world.send("GET", path, as: bob).status == 400)
    }

    @Test("get roles on paths")
    func rights() async throws {
        let entry: JSONValue = ["path": "/datastore/store1", "role": "Audit", "auth-id": "bob@pbs", "propagate": false]
        #expect(try await world.send("PUT", "/access/acl", as: admin, json: entry).status == 200)
        let list = try await world.send("GET", "/access/acl", as: admin, query: [("path", "/datastore/store1")])
        #expect(
            list.data.arrayValue?.contains([
                "path": "/datastore/store1", "ugid": "bob@pbs", "ugid_type": "user", "propagate": false,
                "roleid": "Audit",
            ]) == true)
        #expect(list.json["digest"]?.stringValue?.count == 64)
        for wrong: JSONValue in [
            ["path": "/nowhere", "role": "Audit", "auth-id": "bob@pbs"],
            ["path": "/datastore/store1", "role": "NoRole", "auth-id": "bob@pbs"],
            ["path": "/datastore/store1", "role": "Audit", "auth-id": "gone@pbs"],
            ["path": "/datastore/store1", "role": "Audit", "group": "g1"],
            ["path": "/datastore/store1", "role": "Audit"],
        ] {
            #expect(try await world.send("PUT", "/access/acl", as: admin, json: wrong).status == 400, "\(wrong)")
        }
        #expect(try await world.send("PUT", "/access/acl", as: bob, json: entry).status == 400)
    }

    @Test("list what they may do")
    func permissions() async throws {
        let own = try await world.send("GET", "/access/permissions", as: bob)
        #expect(own.data == ["/datastore/store1": ["Datastore.Backup": true]])
        #expect(
            try await world.send("GET", "/access/permissions", as: bob, query: [("auth-id", "admin@pbs")]).status == 400
        )
        let roles = try await world.send("GET", "/access/roles", as: bob)
        #expect(roles.data.arrayValue?.count == 18)
        let all = try await world.send("GET", "/access/permissions", as: admin, query: [("path", "/")])
        #expect(all.data["/"]?.objectValue?.members.count == 23)
    }

    @Test("change their password by giving the old one")
    func password() async throws {
        let without = try await world.send(
            "PUT", "/access/password", as: bob, json: ["userid": "bob@pbs", "password": "another-pass-1"])
        #expect(without.status == 401)
        let with = try await world.send(
            "PUT", "/access/password", as: bob,
            json: ["userid": "bob@pbs", "password": "another-pass-1", "confirmation-password": "secret-bob"])
        #expect(with.status == 200)
        #expect(
            try await world.send("POST", "/access/ticket", json: ["username": "bob@pbs", "password": "another-pass-1"])
                .status
                == 200)
    }
}

import AccessControl
import BackupFormats
import Datastore
import Testing

/// Who may do what, as observed on the original: one user with one role on `/` for each column. (conformance/MANIFEST.md)
@Suite("Roles")
struct RoleTests {
    static let columns: [Role] = [
        .admin, .datastoreAdmin, .datastorePowerUser, .datastoreBackup, .datastoreReader, .datastoreAudit, .audit,
        .noAccess,
        .remoteAdmin,
    ]

    /// One row: what is asked, and the status for each column.
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let method: String
        let path: String
        var parameters: JSONObject = [:]
        /// Whether the group belongs to the caller instead of somebody else.
        var isOwn = false
        let statuses: [Int]

        var testDescription: String { name }
    }

    static let rows: [Row] = [
        Row(
            name: "list groups", method: "GET", path: "/groups",
            statuses: [200, 200, 200, 200, 200, 200, 200, 403, 403]),
        Row(
            name: "list snapshots", method: "GET", path: "/snapshots",
            statuses: [200, 200, 200, 200, 200, 200, 200, 403, 403]),
        Row(
            name: "read notes of a foreign snapshot", method: "GET", path: "/notes", parameters: time,
            statuses: [200, 200, 400, 400, 200, 200, 200, 403, 403]),
        Row(
            name: "set notes of a foreign snapshot", method: "PUT", path: "/notes",
            parameters: with(time, "notes", "n"),
            statuses: [200, 200, 400, 400, 403, 403, 403, 403, 403]),
        Row(
            name: "protect a foreign snapshot", method: "PUT", path: "/protected",
            parameters: with(time, "protected", false),
            statuses: [200, 200, 400, 400, 403, 403, 403, 403, 403]),
        Row(
            name: "decode a file of a foreign snapshot", method: "GET", path: "/download-decoded",
            parameters: with(time, "file-name", "a.conf.blob"), statuses: [200, 200, 400, 400, 200, 403, 403, 403, 403]),
        Row(
            name: "prune a foreign group", method: "POST", path: "/prune", parameters: with(dry, "keep-last", 1),
            statuses: [200, 200, 400, 403, 403, 403, 403, 403, 403]),
        Row(
            name: "verify a foreign snapshot", method: "POST", path: "/verify", parameters: time,
            statuses: [200, 200, 400, 400, 200, 403, 403, 403, 403]),
        Row(
            name: "change the owner of a foreign group", method: "POST", path: "/change-owner",
            parameters: with(group, "new-owner", "owner@pbs"), statuses: [200, 200, 401, 401, 403, 403, 403, 403, 403]),
        Row(
            name: "list files of an own snapshot", method: "GET", path: "/files", parameters: time, isOwn: true,
            statuses: [200, 200, 200, 200, 200, 200, 200, 403, 403]),
        Row(
            name: "download from an own snapshot", method: "GET", path: "/download",
            parameters: with(time, "file-name", "a.conf.blob"), isOwn: true,
            statuses: [200, 200, 200, 200, 200, 403, 403, 403, 403]),
        Row(
            name: "prune an own group", method: "POST", path: "/prune", parameters: with(dry, "keep-last", 1),
            isOwn: true,
            statuses: [200, 200, 200, 403, 403, 403, 403, 403, 403]),
        Row(
            name: "store status", method: "GET", path: "/status",
            statuses: [200, 200, 200, 200, 200, 200, 200, 403, 403]),
        Row(
            name: "status of garbage collection", method: "GET", path: "/gc",
            statuses: [200, 200, 403, 403, 200, 200, 200, 403, 403]),
        Row(
            name: "prune the store", method: "POST", path: "/prune-datastore",
            parameters: ["dry-run": true, "keep-last": 1],
            statuses: [200, 200, 200, 400, 400, 400, 400, 400, 400]),
    ]

    static let group: JSONObject = ["backup-type": "host", "backup-id": "foreign"]
    static let time = with(group, "backup-time", 1_700_000_000)
    static let dry = with(group, "dry-run", true)

    static func with(_ object: JSONObject, _ name: String, _ value: JSONValue) -> JSONObject {
        var copy = object
        copy[name] = value
        return copy
    }

    static let shared = Task { () throws -> (World, [World.Caller]) in
        let world = try World()
        try world.addStore("store1")
        _ = try await world.user("owner")
        try world.addSnapshot("host/foreign", 1_700_000_000, in: "store1", owner: "owner@pbs")
        var callers: [World.Caller] = []
        for role in columns {
            let name = "role-\(role.rawValue.lowercased())"
            callers.append(try await world.user(name, role))
            try world.addSnapshot("host/own-\(name)", 1_700_000_000, in: "store1", owner: "\(name)@pbs")
        }
        return (world, callers)
    }

    @Test("give what they gave on the original", .serialized, arguments: rows)
    func matrix(_ row: Row) async throws {
        let (world, callers) = try await Self.shared.value
        for (index, role) in Self.columns.enumerated() {
            var parameters = row.parameters
            if row.isOwn { parameters["backup-id"] = .string("own-role-\(role.rawValue.lowercased())") }
            let path = "/admin/datastore/store1" + row.path
            let reply: Reply
            if row.method == "GET" {
                let query = parameters.members.map { ($0.name, $0.value.stringValue ?? $0.value.compactText) }
                reply = try await world.send(row.method, path, as: callers[index], query: query)
            } else {
                reply = try await world.send(row.method, path, as: callers[index], json: .object(parameters))
            }
            #expect(reply.status == row.statuses[index], "\(role.rawValue): \(reply.text)")
        }
    }

    @Test("on a namespace act there and nowhere else")
    func namespaces() async throws {
        let world = try World()
        let store = try world.addStore("store1")
        _ = try store.createNamespace(try Namespace(parsing: "a"))
        _ = try store.createNamespace(try Namespace(parsing: "b"))
        let caller = try await world.user("nsonly", .datastoreBackup, on: "/datastore/store1/a")
        let base = "/admin/datastore/store1"
        let list = try await world.send("GET", "\(base)/namespace", as: caller)
        #expect(
            list.data.arrayValue?.contains(["ns": "a"]) == true && list.data.arrayValue?.contains(["ns": "b"]) == false)
        #expect(try await world.send("GET", "\(base)/groups", as: caller, query: [("ns", "a")]).status == 200)
        #expect(try await world.send("GET", "\(base)/groups", as: caller, query: [("ns", "b")]).status == 403)
        #expect(try await world.send("GET", "\(base)/status", as: caller).data == ["total": 0, "used": 0, "avail": 0])
        #expect(
            try await world.send("GET", "/status/datastore-usage", as: caller).data == [
                ["store": "store1", "mount-status": "nonremovable"]
            ])
        #expect(
            try await world.send("POST", "\(base)/namespace", as: caller, json: ["name": "x", "parent": "a"]).status
                == 403)
        #expect(try await world.send("GET", "/admin/datastore", as: caller).data.arrayValue?.first?["comment"] == .null)
    }

    @Test("of a token are at most those of its user")
    func tokens() async throws {
        let world = try World()
        try world.addStore("store1")
        _ = try await world.user("audit", .datastoreAudit)
        let token = try world.token("adm", of: "audit", .admin)
        let permissions = try await world.send(
            "GET", "/access/permissions", as: token, query: [("path", "/datastore/store1")])
        #expect(permissions.data == ["/datastore/store1": ["Datastore.Audit": true]])
    }

    @Test("show a user the groups of its tokens, and a token only its own")
    func owners() async throws {
        let world = try World()
        try world.addStore("store1")
        let user = try await world.user("bk", .datastoreBackup)
        let token = try world.token("t1", of: "bk", .datastoreBackup)
        try world.addSnapshot("host/one", 1, in: "store1", owner: "bk@pbs")
        try world.addSnapshot("host/two", 1, in: "store1", owner: "bk@pbs!t1")
        try world.addSnapshot("host/three", 1, in: "store1", owner: "other@pbs")
        func ids(_ caller: World.Caller) async throws -> Set<JSONValue?> {
            Set(
                try await world.send("GET", "/admin/datastore/store1/groups", as: caller).data.arrayValue?.map {
                    $0["backup-id"]
                } ?? [])
        }
        #expect(try await ids(user) == ["one", "two"])
        #expect(try await ids(token) == ["two"])
        let path = "/admin/datastore/store1/change-owner"
        func give(_ group: String, _ owner: String, as caller: World.Caller) async throws -> Int {
            try await world.send(
                "POST", path, as: caller,
                json: ["backup-type": "host", "backup-id": .string(group), "new-owner": .string(owner)]
            ).status
        }
        #expect(try await give("one", "bk@pbs!t1", as: user) == 200)
        #expect(try await give("one", "bk@pbs", as: token) == 401)
        #expect(try await give("one", "bk@pbs", as: user) == 200)
        #expect(try await give("three", "bk@pbs", as: user) == 401)
    }
}

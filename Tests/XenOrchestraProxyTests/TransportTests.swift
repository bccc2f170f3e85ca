import BackupFormats
import BackupProtocol
import ManagementAPI
import Platform
import Tasks
import Testing

@testable import XenOrchestraProxy

@Suite("The proxy's transport")
struct TransportTests {
    let setting: ProxySetting

    init() throws { setting = try ProxySetting() }

    private static let version = "{\"id\":0,\"jsonrpc\":\"2.0\",\"method\":\"system.getServerVersion\"}"

    @Test("lets in who shows the token, as it is or percent-encoded, among other cookies")
    func token() async throws {
        let token = try setting.token
        let encoded = token.utf8.map { "%" + Hex.encode([$0]) }.joined()
        for cookie in [
            "authenticationToken=\(token)", "x=y; authenticationToken=\(token); z", "authenticationToken=\(encoded)",
            "authenticationToken=wrong; authenticationToken=\(token)",
        ] {
            #expect(try await setting.send(Self.version, cookie: cookie).status == 200, "\(cookie)")
        }
        for cookie in ["", "authenticationToken", "authenticationToken=", "authenticationToken=x", "token=\(token)"] {
            let refused = try await setting.send("{", cookie: cookie)
            #expect(refused.status == 401, "\(cookie)")
            #expect(refused.header("www-authenticate") == nil)
        }
    }

    @Test("takes large bodies from callers with the token only")
    func limits() throws {
        let good = try [("cookie", "authenticationToken=\(setting.token)")]
        #expect(setting.proxy.bodyLimit(method: "POST", target: "/api/v1", headers: good) == 64 << 20)
        #expect(setting.proxy.bodyLimit(method: "POST", target: "/api/v1/", headers: []) == 64 << 10)
        #expect(setting.proxy.bodyLimit(method: "POST", target: "/other", headers: good) == 17)
    }

    @Test("knows one path, and POST")
    func routing() async throws {
        #expect(try await setting.send(Self.version, target: "/api/v1/").status == 200)
        #expect(try await setting.send(Self.version, target: "/api/v1?x=1").status == 200)
        for method in ["GET", "PUT", "DELETE"] {
            let refused = try await setting.send("", method: method)
            #expect(refused.status == 405 && refused.header("allow") == "POST")
        }
        #expect(try await setting.send("", method: "OPTIONS").status == 204)
        #expect(try await setting.send(Self.version, target: "/api/v2").status == 404)
    }

    @Test(
        "answers what is no call with the codes of JSON-RPC and no id",
        arguments: [
            ("", -32700), ("{", -32700), ("\u{0}", -32700), ("[]", -32600), ("5", -32600), ("{}", -32600),
            ("{\"id\":null,\"method\":\"a\"}", -32600), ("{\"id\":1,\"jsonrpc\":\"1.0\",\"method\":\"a\"}", -32600),
            ("{\"id\":1,\"method\":\"a\",\"params\":5}", -32600), ("{\"id\":1,\"method\":7}", -32600),
        ])
    func malformed(_ body: String, code: Int) async throws {
        let response = try await setting.send(body)
        #expect(response.status == 200 && response.header("content-type") == "application/json")
        let lines = try await setting.lines(response)
        #expect(lines.count == 1)
        #expect(lines[0]["error"]?["code"] == .integer(code))
        #expect(lines[0]["id"] == .null)
    }

    @Test("gives ids back as they came", arguments: ["0", "-1", "12345678901234567890", "1.50", "\"text\""])
    func ids(_ id: String) async throws {
        let response = try await setting.send("{\"id\":\(id),\"method\":\"system.getServerVersion\"}")
        guard case .bytes(let bytes) = response.body else { return }
        #expect(String(decoding: bytes, as: UTF8.self) == "{\"id\":\(id),\"jsonrpc\":\"2.0\",\"result\":\"0.1.0\"}")
    }

    @Test("carries out calls without an id and says nothing")
    func notification() async throws {
        let response = try await setting.send("{\"method\":\"remote.ping\",\"params\":{\"remote\":{}}}")
        #expect(response.status == 204)
        try await waitUntil { setting.xen.calls == ["ping"] }
        #expect(try await setting.send("{\"method\":\"nothing\"}").status == 204)
    }

    @Test("lists every violation of parameters, and only those")
    func violations() async throws {
        let error = try await setting.error(
            "backup.run", ["job": 5, "schedule": [:], "extra": 1, "streamLogs": "yes", "remotes": ["r": 5]])
        #expect(error["code"] == 10 && error["message"] == "invalid parameters")
        let found = error["data"]?["errors"]?.arrayValue?.map {
            "\($0["instancePath"]?.stringValue ?? "") \($0["keyword"]?.stringValue ?? "")"
        }
        #expect(found == ["/job type", "/streamLogs type", " additionalProperties"])
        let missing = try await setting.error("backup.run", ["job": [:]])
        #expect(
            missing["data"]?["errors"] == [
                [
                    "instancePath": "", "keyword": "required", "message": "must have required property 'remotes'",
                    "params": ["missingProperty": "remotes"],
                ],
                [
                    "instancePath": "", "keyword": "required", "message": "must have required property 'schedule'",
                    "params": ["missingProperty": "schedule"],
                ],
            ])
        #expect(try await setting.error("task.getAll", [])["code"] == 10)
        #expect(try await setting.error("task.getAll", ["limit": -1])["data"]?["errors"]?.arrayValue?.count == 1)
        #expect(try await setting.error("task.getAll", ["limit": .number("1.5")])["code"] == 10)
        #expect(
            try await setting.error("backup.deleteVmBackups", ["filenames": ["a", 5], "remote": [:]])["code"] == 10)
    }

    @Test("takes unknown parameters where it was told to")
    func lenient() async throws {
        var options = ProxyOptions()
        options.isStrict = false
        let setting = try ProxySetting(options)
        #expect(try await setting.value("remote.ping", ["remote": [:], "new": 1]) == ["success": true])
    }

    @Test("names unknown methods, and the features that unknown ones belong to")
    func unknownMethod() async throws {
        #expect(
            try await setting.error("no.such") == [
                "code": -32601, "message": "method not found: no.such", "data": "no.such",
            ])
        let known = try await setting.error("backup.listDiskPartitions", ["disk": "x"])
        #expect(known["code"] == -32601 && known["data"] == "backup.listDiskPartitions")
        #expect(known["message"]?.stringValue?.contains("file-level restore") == true)
    }

    @Test("sends blanks while a plain answer takes long, and the answer behind them")
    func keepAlive() async throws {
        var options = ProxyOptions()
        options.keepAlive = .milliseconds(20)
        let setting = try ProxySetting(options)
        let response = try await setting.send(
            "{\"id\":1,\"method\":\"backup.deleteVmBackups\",\"params\":{\"filenames\":[\"/slow\"],\"remote\":{}}}")
        guard case .stream(let source, length: nil) = response.body else {
            Issue.record("the head did not go out first")
            return
        }
        #expect(try await source.read(upTo: 100) == [0x20])
        #expect(try await source.read(upTo: 100) == [0x20])
        setting.xen.release()
        let lines = try await setting.lines(response)
        #expect(lines == [["id": 1, "jsonrpc": "2.0", "result": true]])
    }

    @Test("sends the head and the first line of a log at once, and blanks only before a further line")
    func logKeepAlive() async throws {
        var options = ProxyOptions()
        options.keepAlive = .milliseconds(20)
        let setting = try ProxySetting(options)
        let body: JSONValue = ["id": 1, "method": "backup.run", "params": ProxySetting.job("hold")]
        let response = try await setting.send(body.compactText)
        guard case .stream(let source, length: nil) = response.body else {
            Issue.record("the answer is no stream")
            return
        }
        let first = try await source.read(upTo: 4096)
        #expect(
            first.map { String(decoding: $0, as: UTF8.self) }
                == "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{\"$responseType\":\"ndjson\"}}\n")
        var bytes: [UInt8] = []
        while bytes.last != 0x20 { bytes += try await source.read(upTo: 4096) ?? [] }
        setting.xen.release()
        let rest = try await setting.lines(response)
        #expect(rest.last?["type"] == "end")
    }

    @Test("ends the waiting for events when the caller goes")
    func vanishing() async throws {
        let token = try await setting.value("event.from")["token"]?.stringValue ?? ""
        let response = try await setting.send(
            "{\"id\":1,\"method\":\"event.from\",\"params\":{\"token\":\"\(token)\",\"timeout\":300}}")
        guard case .stream(let source, length: nil) = response.body else {
            Issue.record("the head did not go out first")
            return
        }
        let reader = Task { try await source.read(upTo: 100) }
        try await waitUntil { setting.trees.waiterCount == 1 }
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
        try await waitUntil { setting.trees.waiterCount == 0 }
    }

    @Test("ends the waiting for events of an answer that nobody began to read")
    func unread() async throws {
        let token = try await setting.value("event.from")["token"]?.stringValue ?? ""
        func send() async throws {
            let response = try await setting.send(
                "{\"id\":1,\"method\":\"event.from\",\"params\":{\"token\":\"\(token)\",\"timeout\":300}}")
            try await waitUntil { setting.trees.waiterCount == 1 }
            #expect(response.status == 200)
        }
        try await send()
        try await waitUntil { setting.trees.waiterCount == 0 }
    }
}

import BackupFormats
import BackupProtocol
import ManagementAPI
import NIOConcurrencyHelpers

/// A REST API that answers with what it was asked, and opens ``FakeSession``s.
///
/// `/echo` gives the body back, `/slow` waits 300 ms, `/hold` as long as the session's `/wait`, `/stream?n` streams, `/endless` says one word and then nothing, `/big?n` sends n bytes at once. Bodies are limited to
/// 1 MiB. The header `authorization` names who asks. `/talk` streams both ways, see ``FakeTalk``; `/feed` is `/endless` that a stop cuts.
final class FakeREST: RESTHandler {
    let session: FakeSession
    let endless = EndlessSource()
    let talks = NIOLockedValueBox<[FakeTalk]>([])
    let requests = NIOLockedValueBox<[RESTRequest]>([])

    init(session: FakeSession = FakeSession()) { self.session = session }

    func bodyLimit(method: String, target: String) -> Int { 1024 * 1024 }

    func takesStream(method: String, target: String) -> Bool { method == "POST" && target.hasPrefix("/talk") }

    private func talk(_ request: RESTRequest, query: String) -> RESTAnswer {
        guard let stream = request.stream else { return text(505, "HTTP/2 is needed") }
        if query == "refuse" { return text(415, "not this") }
        let talk = FakeTalk(stream, mode: query)
        talks.withLockedValue { $0.append(talk) }
        return .response(
            RESTResponse(status: 200, headers: [("content-type", "talk")], body: .stream(talk, length: nil)))
    }

    func handle(_ request: RESTRequest) async -> RESTAnswer {
        requests.withLockedValue { $0.append(request) }
        let (rawPath, query) = RequestPath.split(request.target)
        let path = RequestPath.normalized(rawPath)
        if request.body.count > 1024 * 1024 { return text(400, "body too long") }
        switch path {
        case "/api2/json/backup", "/api2/json/reader":
            if request.isHTTP2 {
                guard request.method == "POST" else { return text(400, "needs an upgrade over HTTP/1.1") }
                guard let identity = await identify(request) else { return text(401, "who") }
                return .nativeSession(
                    kind: path.hasSuffix("backup") ? "backup" : "reader", session: session, identity: identity,
                    response("{\"data\":null}"))
            }
            guard request.header("upgrade") == ProtocolID.backup.rawValue else {
                return text(400, "invalid protocol name")
            }
            return .upgrade(protocolID: ProtocolID.backup.rawValue, session: session)
        case "/echo": return .response(RESTResponse(status: 200, body: .bytes(request.body)))
        case "/slow":
            try? await Task.sleep(for: .milliseconds(300))
            return .response(response("slow"))
        case "/hold":
            _ = await session.receive(BackupRequest(head: BackupRequestHead(method: "GET", path: "/wait")))()
            return .response(response("held"))
        case "/stream":
            let source = CountedSource(bytes: Int(query) ?? 0)
            return .response(RESTResponse(status: 200, body: .stream(source, length: nil)))
        case "/talk": return talk(request, query: query)
        case "/feed":
            var response = RESTResponse(status: 200, body: .stream(endless, length: nil))
            response.isFeed = true
            return .response(response)
        case "/endless":
            return .response(RESTResponse(status: 200, body: .stream(endless, length: nil)))
        case "/big":
            return .response(RESTResponse(status: 200, body: .bytes([UInt8](repeating: 7, count: Int(query) ?? 0))))
        default: return .response(response("\(request.method) \(request.target)"))
        }
    }

    func identify(_ request: RESTRequest) async -> AuthID? {
        request.header("authorization").flatMap { AuthID(parsing: $0) }
    }

    private func response(_ text: String) -> RESTResponse {
        RESTResponse(
            status: 200, headers: [("content-type", BackupResponse.jsonType)], body: .bytes(Array(text.utf8)))
    }

    private func text(_ status: Int, _ text: String) -> RESTAnswer {
        .response(RESTResponse(status: status, body: .bytes(Array(text.utf8))))
    }
}

/// Gives one word, and then nothing until its reader is cancelled.
final class EndlessSource: ByteSource {
    let isCancelled = NIOLockedValueBox(false)
    private let hasBegun = NIOLockedValueBox(false)

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        let isFirst = hasBegun.withLockedValue { hasBegun in
            defer { hasBegun = true }
            return !hasBegun
        }
        if isFirst { return Array("word".utf8) }
        do { try await Task.sleep(for: .seconds(600)) } catch { isCancelled.withLockedValue { $0 = true } }
        return nil
    }
}

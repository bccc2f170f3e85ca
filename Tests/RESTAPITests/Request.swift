import BackupFormats
import BackupProtocol
import BlobCoding
import ManagementAPI
import RESTAPI

/// What came back.
struct Reply {
    let status: Int
    let headers: [(name: String, value: String)]
    let bytes: [UInt8]

    var text: String { String(decoding: bytes, as: UTF8.self) }
    /// The body as JSON; null where it is none.
    var json: JSONValue { (try? JSONValue(parsing: bytes)) ?? .null }
    var data: JSONValue { json["data"] ?? .null }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

extension World {
    /// Sends a request below `/api2/json` and gives the answer.
    func send(
        _ method: String, _ path: String, as caller: Caller = .nobody, query: [(String, String)] = [],
        json: JSONValue? = nil, form: [(String, String)]? = nil, body: [UInt8]? = nil,
        headers: [(name: String, value: String)] = []
    ) async throws -> Reply {
        let answer = await answer(
            method, "/api2/json" + path, as: caller, query: query, json: json, form: form, body: body, headers: headers)
        return try await reply(answer)
    }

    func answer(
        _ method: String, _ path: String, as caller: Caller = .nobody, query: [(String, String)] = [],
        json: JSONValue? = nil, form: [(String, String)]? = nil, body: [UInt8]? = nil,
        headers: [(name: String, value: String)] = [], isHTTP2: Bool = false
    ) async -> RESTAnswer {
        var all = caller.headers + headers
        var bytes = body ?? []
        if let json {
            all.append(("content-type", "application/json"))
            bytes = Array(json.compactText.utf8)
        } else if let form {
            all.append(("content-type", "application/x-www-form-urlencoded"))
            bytes = Array(FormText.encode(form.map { (name: $0.0, value: $0.1) }).utf8)
        }
        let text = FormText.encode(query.map { (name: $0.0, value: $0.1) })
        return await server.handle(
            RESTRequest(
                method: method, target: text.isEmpty ? path : "\(path)?\(text)", headers: all, body: bytes,
                peer: "127.0.0.1:1", isHTTP2: isHTTP2))
    }

    func reply(_ answer: RESTAnswer) async throws -> Reply {
        switch answer {
        case .response(let response), .nativeSession(_, _, _, let response):
            let bytes = try await BackupResponse(status: response.status, contentType: nil, body: response.body)
                .collect(limit: 64 << 20)
            return Reply(status: response.status, headers: response.headers, bytes: bytes)
        case .upgrade(let id, let session):
            await session.connectionEnded(.closed)
            return Reply(status: 101, headers: [("upgrade", id)], bytes: [])
        }
    }
}

/// A plain blob with this content.
func plainBlob(_ text: String) -> [UInt8] {
    let content = Array(text.utf8)
    var blob: [UInt8] = [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1]
    blob.appendLittleEndian(CRC32.checksum(of: content))
    return blob + content
}

import BackupProtocol
import BlobCoding
import ManagementAPI

/// Compresses answers for clients that name `deflate` among the encodings they take; no other encoding is offered.
/// (Spec: rest F.1.)
enum AnswerCompression {
    /// Below this it does not pay.
    private static let minBytes = 1024
    /// Longer answers are sent as they are, so that no thread is held for long.
    private static let maxBytes = 8 << 20

    static func apply(to answer: RESTAnswer, of request: RESTRequest) -> RESTAnswer {
        guard case .response(var response) = answer, case .bytes(let bytes) = response.body,
            (minBytes...maxBytes).contains(bytes.count), response.header("content-encoding") == nil,
            response.header("content-type") != BackupResponse.octetStream, accepts(request),
            let compressed = Deflate.zlib(bytes), compressed.count < bytes.count
        else { return answer }
        response.body = .bytes(compressed)
        response.headers += [("content-encoding", "deflate"), ("vary", "accept-encoding")]
        return .response(response)
    }

    private static func accepts(_ request: RESTRequest) -> Bool {
        request.headers.contains { header in
            header.name == "accept-encoding"
                && header.value.split(separator: ",").contains { item in
                    let parts = item.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
                    return parts.first == "deflate" && !parts.dropFirst().contains { $0 == "q=0" || $0 == "q=0.0" }
                }
        }
    }
}

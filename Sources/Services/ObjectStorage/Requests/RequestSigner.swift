import BackupFormats
import Crypto

/// Signs requests by AWS Signature Version 4, service `s3`.
///
/// Source: "Signature Calculations for the Authorization Header", Amazon S3 API Reference; its examples are tests.
package struct RequestSigner: Sendable {
    private let accessKey: String
    private let secretKey: String
    private let region: String

    package init(accessKey: String, secretKey: String, region: String) {
        self.accessKey = accessKey
        self.secretKey = secretKey
        self.region = region
    }

    /// `20130524T000000Z`, the value of `x-amz-date`.
    package static func timestamp(_ seconds: Int64) -> String {
        BackupTime.text(seconds).filter { $0 != "-" && $0 != ":" }
    }

    /// The value of the header `Authorization`.
    ///
    /// - Parameters:
    ///   - path: Encoded, as it is sent.
    ///   - query: Names and values, not encoded.
    ///   - headers: All that are signed; names in lower case, with `host`, `x-amz-date` and `x-amz-content-sha256`.
    ///   - payloadHash: Value of `x-amz-content-sha256`.
    ///   - timestamp: Value of `x-amz-date`.
    package func authorization(
        method: String, path: String, query: [(String, String)], headers: [(String, String)], payloadHash: String,
        timestamp: String
    ) -> String {
        let headers = headers.sorted { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
        let names = headers.map { $0.0 }.joined(separator: ";")
        let request = [
            method, path, Self.queryText(query), headers.map { "\($0.0):\(Self.trimmed($0.1))\n" }.joined(), names,
            payloadHash,
        ].joined(separator: "\n")
        let day = String(timestamp.prefix(8))
        let scope = "\(day)/\(region)/s3/aws4_request"
        let text = ["AWS4-HMAC-SHA256", timestamp, scope, Self.hash(Array(request.utf8))].joined(separator: "\n")
        let key = [day, region, "s3", "aws4_request"].reduce(Array("AWS4\(secretKey)".utf8)) { Self.mac($1, key: $0) }
        let signature = Hex.encode(Self.mac(text, key: key))
        return "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope),SignedHeaders=\(names),Signature=\(signature)"
    }

    /// The query as it is sent and signed: encoded and sorted.
    package static func queryText(_ query: [(String, String)]) -> String {
        query.map { (PercentCoding.encode($0.0), PercentCoding.encode($0.1)) }
            .sorted { $0.0 == $1.0 ? $0.1 < $1.1 : $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
            .map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    /// SHA-256 in hexadecimal digits.
    package static func hash(_ bytes: [UInt8]) -> String { Hex.encode(SHA256.hash(data: bytes)) }

    private static func mac(_ text: String, key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
    }

    private static func trimmed(_ value: String) -> String {
        value.split(separator: " ").joined(separator: " ")
    }
}

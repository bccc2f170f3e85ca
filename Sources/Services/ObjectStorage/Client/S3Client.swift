import AsyncHTTPClient
package import BackupFormats
import NIOCore
import NIOHTTP1
import NIOSSL

/// Talks to one bucket of an S3-compatible store.
///
/// Each request is sent again after the pauses of ``S3Limits/pauses`` where the network or the store failed. Over TLS the
/// payload is not signed (its MD5 goes with it); over plain HTTP it is.
package final class S3Client: Sendable {
    /// For one request with all its bytes. (Spec: xo-proxy §4.2.)
    private static let timeLimit = TimeAmount.minutes(20)
    /// Without a byte.
    private static let idleLimit = TimeAmount.minutes(5)
    /// Requests at once. (Spec: §4.2.)
    private static let connectionLimit = 10

    package let settings: S3Settings
    private let signer: RequestSigner
    private let time: TimeSource
    private let http: HTTPClient
    let scratch: S3Scratch?
    let partInMemory: Int

    /// - Parameters:
    ///   - scratchFolder: For parts that are longer than `partInMemory`; nil: they stay in memory, too.
    package init(
        _ settings: S3Settings, time: TimeSource, scratchFolder: String? = nil,
        partInMemory: Int = S3Limits.partInMemory
    ) {
        scratch = scratchFolder.map { S3Scratch(folder: $0) }
        self.partInMemory = partInMemory
        self.settings = settings
        self.time = time
        signer = RequestSigner(
            accessKey: settings.accessKey, secretKey: settings.secretKey, region: settings.region)
        var tls = TLSConfiguration.makeClientConfiguration()
        if settings.allowsAnyCertificate { tls.certificateVerification = .none }
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(15), read: Self.idleLimit))
        configuration.httpVersion = .http1Only
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.connectionLimit
        configuration.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Ends all connections. Called once, when nobody uses it any more.
    package func close() async {
        try? await http.shutdown()
        scratch?.close()
    }

    /// Sends until there is an answer that another try would not change.
    ///
    /// - Throws: ``BackupFailure``; `CancellationError`.
    func send(_ request: S3Request) async throws -> S3Response {
        var pauses = S3Limits.pauses.makeIterator()
        while true {
            switch try await attempt(request) {
            case .answer(let response): return response
            case .failure(let failure): throw failure
            case .transient(let failure):
                guard let pause = pauses.next() else { throw failure }
                try await Task.sleep(for: pause)
            }
        }
    }

    private enum Attempt {
        case answer(S3Response)
        case failure(BackupFailure)
        /// May go away by itself.
        case transient(BackupFailure)
    }

    private func attempt(_ request: S3Request) async throws -> Attempt {
        do {
            let response = try await sendOnce(request)
            if response.status < 300 { return .answer(response) }
            let error = S3Failure(response)
            let failure = error.failure(request.summary, settings)
            return error.isTransient ? .transient(failure) : .failure(failure)
        } catch {
            try Task.checkCancellation()
            if error is CancellationError { throw error }
            let failure = transportFailure(error, request)
            return Self.isTLS(error) ? .failure(failure) : .transient(failure)
        }
    }

    private func sendOnce(_ request: S3Request) async throws -> S3Response {
        let path = Self.path(bucket: settings.bucket, key: request.key)
        let payloadHash = settings.isTLS ? "UNSIGNED-PAYLOAD" : request.body?.sha256 ?? RequestSigner.hash([])
        let timestamp = RequestSigner.timestamp(time.seconds)
        var headers = request.headers
        headers += [("host", settings.host), ("x-amz-content-sha256", payloadHash), ("x-amz-date", timestamp)]
        headers.append(
            (
                "authorization",
                signer.authorization(
                    method: request.method.rawValue, path: path, query: request.query, headers: headers,
                    payloadHash: payloadHash, timestamp: timestamp)
            ))
        let query = RequestSigner.queryText(request.query)
        var message = HTTPClientRequest(
            url: "\(settings.isTLS ? "https" : "http")://\(settings.host)\(path)\(query.isEmpty ? "" : "?\(query)")")
        message.method = request.method
        message.headers = HTTPHeaders(headers)
        message.body = request.body.map(messageBody)
        let response = try await http.execute(message, deadline: .now() + Self.timeLimit)
        let body = try await response.body.collect(upTo: request.answerLimit)
        return S3Response(
            status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }

    private func messageBody(_ body: S3Body) -> HTTPClientRequest.Body {
        switch body.content {
        case .bytes(let bytes): return .bytes(ByteBuffer(bytes: bytes))
        case .file(let file):
            guard let scratch else { return .bytes(ByteBuffer()) }
            return .stream(
                scratch.content(of: file, byteCount: body.byteCount), length: .known(Int64(body.byteCount)))
        }
    }

    /// As it is sent and signed.
    static func path(bucket: String, key: String?) -> String {
        "/" + PercentCoding.encode(bucket) + "/" + (key.map { PercentCoding.encode($0, keeping: "/") } ?? "")
    }

    private static func isTLS(_ error: any Error) -> Bool {
        switch error as? NIOSSLError {
        case .handshakeFailed, .unableToValidateCertificate, .noCertificateToValidate: true
        default: error is NIOSSLExtraError
        }
    }

    private func transportFailure(_ error: any Error, _ request: S3Request) -> BackupFailure {
        if error is NIOTooManyBytesError {
            return BackupFailure(.corruptData, "\(request.summary): the store answered more than was asked for")
        }
        if Self.isTLS(error) {
            return BackupFailure(
                .unavailable, "\(request.summary): the certificate of \(settings.host) is not accepted",
                hints: [
                    "Give the store a certificate of a known authority, or allow unauthorized ones for this remote."
                ],
                cause: error)
        }
        return BackupFailure(.unavailable, "\(request.summary): \(settings.host) cannot be reached", cause: error)
    }
}

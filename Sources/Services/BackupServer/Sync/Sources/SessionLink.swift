import BackupFormats
import BackupProtocol

/// A session on a remote, as synchronisations use it: its calls with names for their failures.
///
/// A broken connection, and silence, is `unavailable`: then the snapshot may be begun again. What the remote refuses is
/// never that.
struct SessionLink: Sendable {
    static let answerLimit = 1 << 20

    let transport: any BackupTransport
    let patience: Duration

    func send(_ request: BackupRequest, trying what: String) async throws -> BackupResponse {
        do {
            return try await within(patience) { [transport] in try await transport.send(request) }
        } catch let failure as BackupFailure {
            throw BackupFailure(failure.kind, what, cause: failure)
        }
    }

    /// A call whose answer is bytes; nil where the remote has no such file.
    func fetch(_ request: BackupRequest, limit: Int, trying what: String) async throws -> [UInt8]? {
        let response = try await send(request, trying: what)
        if response.status == 404 { return nil }
        try await Self.require(response, what)
        return try await collect(response, limit: limit, trying: what)
    }

    func collect(_ response: BackupResponse, limit: Int, trying what: String) async throws -> [UInt8] {
        do {
            return try await within(patience) { try await response.collect(limit: limit) }
        } catch let failure as BackupFailure where failure.kind == .invalidInput {
            throw BackupFailure(.corruptData, what, cause: failure)
        } catch let failure as BackupFailure {
            throw BackupFailure(failure.kind, what, cause: failure)
        }
    }

    /// A call whose answer is `{"data": …}`.
    @discardableResult
    func call(_ request: BackupRequest, trying what: String) async throws -> JSONValue {
        let response = try await send(request, trying: what)
        try await Self.require(response, what)
        let bytes = try await collect(response, limit: Self.answerLimit, trying: what)
        guard !bytes.isEmpty else { return .null }
        guard let data = (try? JSONValue(parsing: bytes))?["data"] else {
            throw BackupFailure(.corruptData, "\(what): the answer is not what the protocol says")
        }
        return data
    }

    /// - Throws: ``BackupFailure`` with the remote's text where it refused.
    static func require(_ response: BackupResponse, _ what: String) async throws {
        guard let failure = await response.failure() else { return }
        throw BackupFailure(failure.kind == .unavailable ? .internalFault : failure.kind, what, cause: failure)
    }
}

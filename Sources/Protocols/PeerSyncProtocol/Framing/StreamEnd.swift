package import BackupFormats

/// How a hub ends a stream: the JSON of the last envelope. (Spec: backrest-sync §3.3, §5.10.)
package struct StreamEnd: Error, Sendable, Equatable, CustomStringConvertible {
    /// The codes of Connect.
    package enum Code: String, Sendable, CaseIterable {
        case canceled, unknown
        case invalidArgument = "invalid_argument"
        case deadlineExceeded = "deadline_exceeded"
        case notFound = "not_found"
        case alreadyExists = "already_exists"
        case permissionDenied = "permission_denied"
        case resourceExhausted = "resource_exhausted"
        case failedPrecondition = "failed_precondition"
        case aborted
        case outOfRange = "out_of_range"
        case unimplemented, `internal`, unavailable
        case dataLoss = "data_loss"
        case unauthenticated
    }

    /// Nil: it ended in order.
    package let code: Code?
    package let message: String

    package static let clean = StreamEnd(code: nil, message: "")

    package init(code: Code?, message: String) {
        self.code = code
        self.message = message
    }

    /// What the peer is told of a failure: its kind, not its reason.
    package init(_ failure: PeerSyncFailure) {
        switch failure.kind {
        case .authentication: self.init(code: .permissionDenied, message: "the peer is not authorised")
        case .protocolError, .invalidArgument: self.init(code: .invalidArgument, message: failure.reason)
        case .tooLarge: self.init(code: .resourceExhausted, message: failure.reason)
        case .unsupported: self.init(code: .unimplemented, message: failure.reason)
        case .displaced:
            self.init(code: .internal, message: "displaced by a newer session of the same peer")
        case .internalFault: self.init(code: .internal, message: "the session cannot go on")
        }
    }

    /// The object as it stands in the last envelope; also the body of a unary error.
    package var error: JSONValue {
        guard let code else { return [:] }
        return ["code": .string(code.rawValue), "message": .string(message)]
    }

    package var encoded: [UInt8] {
        Array((code == nil ? JSONValue.object([:]) : ["error": error]).compactText.utf8)
    }

    /// - Throws: ``PeerSyncFailure`` (`protocolError`) where the bytes are no such JSON. An unknown code is `unknown`.
    package init(parsing bytes: [UInt8]) throws(PeerSyncFailure) {
        guard let json = try? JSONValue(parsing: bytes), case .object = json else {
            throw PeerSyncFailure(.protocolError, "the end of the stream is no JSON object")
        }
        guard let error = json["error"], error != .null else {
            self = .clean
            return
        }
        self.init(
            code: error["code"]?.stringValue.flatMap(Code.init(rawValue:)) ?? .unknown,
            message: error["message"]?.stringValue ?? "")
    }

    package var description: String { code.map { "\($0.rawValue): \(message)" } ?? "the end" }
}

package import BackupFormats

/// The answers that sessions give. (Spec: protocol A.6, B.4.)
extension BackupResponse {
    /// 200 with `{"data":…}`.
    package static func data(_ value: JSONValue) -> BackupResponse {
        let body: JSONValue = ["data": value]
        return BackupResponse(status: 200, contentType: jsonType, body: .bytes(Array(body.compactText.utf8)))
    }

    /// What `GET /` answers.
    package static func directory(_ names: [String]) -> BackupResponse {
        data(.array(names.map { ["subdir": .string($0)] }))
    }

    /// 200 with bytes.
    package static func file(_ bytes: [UInt8]) -> BackupResponse {
        BackupResponse(status: 200, contentType: octetStream, body: .bytes(bytes))
    }

    /// An error that was found before the call began: parameters, body or path. It has no content type.
    package static func early(_ text: String) -> BackupResponse {
        BackupResponse(status: 400, contentType: nil, body: .bytes(Array(text.utf8)))
    }

    package static func refused(_ failure: ParameterFailure) -> BackupResponse { early("\(failure)") }

    package static func notFound(_ head: BackupRequestHead) -> BackupResponse {
        error(404, "Path '\(head.path.prefix(256))' not found.")
    }

    /// An error of a call: text, though its content type says JSON, as clients expect.
    package static func error(_ status: Int, _ text: String) -> BackupResponse {
        BackupResponse(status: status, contentType: jsonType, body: .bytes(Array(text.utf8)))
    }

    /// The answer to a call that failed.
    package static func failed(_ failure: BackupFailure) -> BackupResponse {
        error(failure.kind.sessionStatus, failure.description)
    }
}

extension BackupFailure.Kind {
    /// The status of a call inside a session that fails so. Clients know 400 for all but a missing file and a chunk
    /// that is not allowed.
    package var sessionStatus: Int {
        switch self {
        case .notFound: 404
        case .notAuthenticated: 401
        case .notAuthorized: 403
        case .invalidInput, .noSuchObject, .conflict, .corruptData, .storageFull, .unavailable, .unsupported,
            .cancelled,
            .internalFault:
            400
        }
    }
}

import BackupFormats
import BackupProtocol
import Datastore

/// How what fails inside a session becomes an answer.
enum SessionFailure {
    static func response(to error: any Error) -> BackupResponse {
        switch error {
        case let failure as ParameterFailure: .refused(failure)
        case let failure as BackupFailure: .failed(failure)
        default: .failed(BackupFailure(.internalFault, "the call failed", cause: error))
        }
    }

    /// A missing index is answered with 400, other than a missing blob. (Spec: protocol B.1, B.2.)
    static func indexOpening(_ body: () throws -> StoredIndex) throws -> StoredIndex {
        do {
            return try body()
        } catch let failure as BackupFailure where failure.kind == .notFound {
            throw BackupFailure(.noSuchObject, failure.summary, hints: failure.hints, cause: failure.cause)
        }
    }
}

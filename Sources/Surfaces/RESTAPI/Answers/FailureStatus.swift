import BackupFormats
import BackupProtocol

/// Which status a failure has. All of it is here. (Spec: rest F.4.)
enum FailureStatus {
    static let parameters = 400
    static let illegalPath = 400
    static let unknownPath = 404
    static let targetTooLong = 414
    static let needsHTTP2 = 426
    static let notBuilt = 501

    static func of(_ kind: BackupFailure.Kind) -> Int {
        switch kind {
        case .notAuthenticated: 401
        case .notAuthorized: 403
        case .notFound: 404
        case .internalFault: 500
        case .unsupported: notBuilt
        case .unavailable: 503
        // The original answers 400 to all that goes wrong in an endpoint, and clients rely on it.
        case .invalidInput, .noSuchObject, .conflict, .corruptData, .storageFull, .cancelled: 400
        }
    }
}

/// A failure on its way into an answer.
struct Refusal: Error {
    var status: Int
    var text: String
    /// By parameter, for the format that lists them.
    var parameters: [ParameterFailure.Item] = []

    init(_ status: Int, _ text: String) {
        self.status = status
        self.text = text
    }

    init(_ failure: ParameterFailure) {
        status = FailureStatus.parameters
        text = failure.description
        parameters = failure.items
    }

    /// Of any error; those that nobody meant to show are named only by what was being done.
    init(_ error: any Error, during endpoint: String) {
        switch error {
        case let refusal as Refusal: self = refusal
        case let failure as BackupFailure: self.init(FailureStatus.of(failure.kind), failure.description)
        case let failure as ParameterFailure: self.init(failure)
        case let error as FormatError: self.init(400, error.description)
        case is CancellationError: self.init(503, "The request was cancelled")
        default: self.init(500, "\(endpoint) failed: \(error)")
        }
    }
}

import BackupFormats
import PeerSyncProtocol

extension StreamEnd.Code {
    /// Of a unary answer that failed. (Connect protocol, "Error codes".)
    var httpStatus: Int {
        switch self {
        case .canceled: 499
        case .invalidArgument, .failedPrecondition, .outOfRange: 400
        case .unauthenticated: 401
        case .permissionDenied: 403
        case .notFound: 404
        case .alreadyExists, .aborted: 409
        case .resourceExhausted: 429
        case .unimplemented: 501
        case .unavailable: 503
        case .deadlineExceeded: 504
        case .unknown, .internal, .dataLoss: 500
        }
    }
}

extension StreamEnd {
    /// What a caller who has logged in, or tries to, is told of a failure.
    init(_ error: any Error) {
        switch error {
        case let end as StreamEnd: self = end
        case let failure as PeerSyncFailure: self.init(failure)
        case let failure as BackupFailure: self.init(code: Code(failure.kind), message: failure.summary)
        default: self.init(code: .internal, message: "the call cannot be answered")
        }
    }
}

extension StreamEnd.Code {
    fileprivate init(_ kind: BackupFailure.Kind) {
        self =
            switch kind {
            case .invalidInput: .invalidArgument
            case .notAuthenticated: .unauthenticated
            case .notAuthorized: .permissionDenied
            case .notFound, .noSuchObject: .notFound
            case .conflict: .failedPrecondition
            case .corruptData: .dataLoss
            case .storageFull: .resourceExhausted
            case .unavailable: .unavailable
            case .unsupported: .unimplemented
            case .cancelled: .canceled
            case .internalFault: .internal
            }
    }
}

import BackupFormats
import NIOHTTP1

/// What an error of the store means.
struct S3Failure: Error, CustomStringConvertible {
    let status: Int
    /// `NoSuchKey`; empty where the answer had no body, as to `HEAD`.
    let code: String
    let message: String
    /// Where the store says that the bucket is.
    let region: String?

    init(_ response: S3Response) {
        status = response.status
        let document = try? response.xml()
        code = document?["Code"]?.text ?? ""
        message = document?["Message"]?.text ?? ""
        region = response.headers.first(name: "x-amz-bucket-region") ?? document?["Region"]?.text
    }

    var description: String {
        let text = [code, message].filter { !$0.isEmpty }.joined(separator: ": ")
        return text.isEmpty ? "status \(status)" : "\(text) (status \(status))"
    }

    /// Whether the same request may succeed in a moment.
    var isTransient: Bool {
        if ["SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"].contains(code) {
            return true
        }
        return status == 429 || status >= 500 && status != 501
    }

    var isMissing: Bool { status == 404 && (code.isEmpty || code == "NoSuchKey" || code == "NoSuchUpload") }

    func failure(_ summary: String, _ settings: S3Settings) -> BackupFailure {
        var hints: [String] = []
        let kind: BackupFailure.Kind
        switch code {
        case "NoSuchBucket":
            kind = .noSuchObject
            hints = ["Make the bucket \(settings.bucket) at \(settings.host) first; Cairn makes none."]
        case "RequestTimeTooSkewed":
            kind = .notAuthenticated
            hints = ["The clocks of this machine and of the store differ too much; set them."]
        case "InvalidAccessKeyId", "SignatureDoesNotMatch":
            kind = .notAuthenticated
            hints = ["Check the access key, the secret key and the region \(settings.region)."]
        case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect",
            "IllegalLocationConstraintException":
            return wrongRegion(summary, settings)
        case "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLarge":
            kind = .storageFull
        case "PreconditionFailed", "ConditionalRequestConflict": kind = .conflict
        case "NotImplemented": kind = .unsupported
        default:
            switch status {
            case 301, 307, 308: return wrongRegion(summary, settings)
            case 400 where region != nil && region != settings.region: return wrongRegion(summary, settings)
            case 401: kind = .notAuthenticated
            case 403: kind = .notAuthorized
            case 404: kind = .notFound
            case 409, 412: kind = .conflict
            case 501: kind = .unsupported
            case 507: kind = .storageFull
            case 400..<500: kind = .invalidInput
            default: kind = .unavailable
            }
        }
        return BackupFailure(kind, summary, hints: hints, cause: self)
    }

    private func wrongRegion(_ summary: String, _ settings: S3Settings) -> BackupFailure {
        let place = region.map { ", it is in \($0)" } ?? ""
        return BackupFailure(
            .invalidInput, "\(summary): the bucket is not in the region \(settings.region)\(place)",
            hints: ["Write the region at the end of the address: `#\(region ?? "REGION")`."], cause: self)
    }
}

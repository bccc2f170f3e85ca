import BackupFormats
import BackupHTTP2

/// Reads what a server answers.
enum ServerAnswer {
    /// Characters of an error text that are shown.
    private static let textLimit = 2000

    /// An answer that is not 200 as a failure with the server's text.
    static func failure(_ response: HTTPResponse) -> BackupFailure {
        let text = String(decoding: response.bytes.prefix(textLimit), as: UTF8.self)
        let line = String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
        let kind: BackupFailure.Kind =
            switch response.status {
            case 401: .notAuthenticated
            case 403: .notAuthorized
            case 404: .notFound
            case 503: .unavailable
            case 501: .unsupported
            case 500...: .internalFault
            default: .invalidInput
            }
        return BackupFailure(
            kind, line.isEmpty ? "the server answered with status \(response.status)" : line, hints: hints(for: kind))
    }

    static func hints(for kind: BackupFailure.Kind) -> [String] {
        switch kind {
        case .notAuthenticated: ["Check user and password (PBS_PASSWORD, or `cairn login`)."]
        case .notAuthorized: ["An administrator of the server can grant the missing privilege (`cairn acl update`)."]
        case .unavailable: ["Try again later."]
        default: []
        }
    }
}

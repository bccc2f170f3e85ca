import BackupFormats
import BackupProtocol

/// A request target, taken apart and made regular. (Spec: rest F.1, F.3, F.4.)
struct RequestTarget {
    /// Most bytes of path and query together; the `?` between them does not count.
    static let maxLength = 3072

    enum Place: Equatable {
        /// Below `/api2/<format>`: the decoded components behind it.
        case api(AnswerFormat, [String])
        /// `/api2` alone.
        case incomplete
        /// Below `/api2`, but a format that nobody knows.
        case unknownFormat(String)
        /// Anywhere else.
        case outside
        /// A component begins with a dot.
        case illegal
    }

    let path: String
    let query: String

    init(_ target: String) {
        (path, query) = RequestPath.split(target)
    }

    var isTooLong: Bool { path.utf8.count + query.utf8.count > Self.maxLength }
    /// Without empty components: `//api2///json` becomes `/api2/json`.
    var normalPath: String { RequestPath.normalized(path) }

    var place: Place {
        let parts = RequestPath.components(path)
        guard parts.allSatisfy({ $0.utf8.first != UInt8(ascii: ".") }) else { return .illegal }
        guard parts.first == "api2" else { return .outside }
        guard parts.count > 1 else { return .incomplete }
        guard let format = AnswerFormat(rawValue: String(parts[1])) else { return .unknownFormat(String(parts[1])) }
        let decoded = parts.dropFirst(2).map { FormText.decode($0.utf8, plusIsBlank: false) }
        guard decoded.allSatisfy({ !$0.isEmpty && $0.utf8.first != UInt8(ascii: ".") }) else { return .illegal }
        return .api(format, decoded)
    }
}

/// How answers are wrapped; the second component of a path.
enum AnswerFormat: String {
    case json, extjs
}

import BackupFormats
import BackupHTTP2
import PeerSync

/// Why a hub was not reached, said so that whoever gave its URL knows what to change. (Spec: backrest-sync §8.)
enum DialFailure {
    private static let proxyHint =
        "A proxy in front of the hub must pass HTTP/2 on, without buffering, for /v1sync.BackrestSyncService/."
    private static let urlHint =
        "Give the URL under which the hub itself answers; a path belongs to it only where a proxy adds one."

    /// Nobody answered, or not as it should.
    static func notConnected(to hub: HubAddress, _ error: any Error) -> any Error {
        guard let failure = error as? BackupFailure else { return error }
        switch failure.kind {
        case .unsupported: return notHTTP2(hub, failure)
        case .notAuthenticated:
            var hints: [String] = []
            if let shown = failure.cause as? UntrustedCertificate {
                hints.append(
                    "If the hub's certificate has the fingerprint \(shown.fingerprint), add the hub with it.")
            }
            hints.append("A certificate of a known authority, for the name in the URL, needs no fingerprint.")
            return BackupFailure(
                failure.kind, "the certificate of the hub \(hub) is not trusted", hints: hints, cause: failure.cause)
        case .unavailable:
            var hints: [String] = []
            if hub.isSecure, failure.cause == nil || failure.summary.contains("TLS") {
                hints.append("A hub that does not speak TLS has a URL that begins with http://.")
            }
            if let usual = hub.usualPortHint { hints.append(usual) }
            return BackupFailure(
                .unavailable, "the hub \(hub) is not reached", hints: hints, cause: failure.cause ?? Said(failure))
        default: return failure
        }
    }

    /// The connection is there, and no answer came on it.
    static func notAnswered(by hub: HubAddress, _ failure: BackupFailure) -> BackupFailure {
        failure.kind == .unsupported ? notHTTP2(hub, failure) : failure
    }

    private static func notHTTP2(_ hub: HubAddress, _ failure: BackupFailure) -> BackupFailure {
        var hints = [proxyHint]
        if !hub.isSecure { hints.append("A hub that speaks TLS has a URL that begins with https://.") }
        if let usual = hub.usualPortHint { hints.append(usual) }
        return BackupFailure(
            .invalidInput, "what answers at \(hub) does not speak HTTP/2", hints: hints, cause: Said(failure))
    }

    /// - Throws: ``BackupFailure`` where the head is not one of a hub's answer.
    static func judge(_ head: DuplexStream.Head, of hub: HubAddress) throws {
        switch head.status {
        case 200:
            let type = head.header("content-type")
            guard ContentType(type) == ContentType(StreamHead.contentType) else {
                throw refusal(hub, "answers with '\((type ?? "nothing").prefix(100))'", [urlHint])
            }
        case 300..<400:
            let place = head.header("location").map { " (\($0.prefix(200)))" } ?? ""
            throw refusal(hub, "leads elsewhere\(place)", ["Give the URL to which it leads."])
        case 401, 403:
            throw refusal(
                hub, "demands a login (status \(head.status))",
                ["Let the proxy pass /v1sync.BackrestSyncService/ without one: peers prove who they are in it."])
        case 404: throw refusal(hub, "has no peer sync there (status 404)", [urlHint])
        case 415: throw refusal(hub, "does not take streams of Connect (status 415)", [urlHint])
        case 426, 505: throw refusal(hub, "was reached by HTTP/1.1 (status \(head.status))", [proxyHint])
        case 429, 500..<600:
            throw BackupFailure(
                .unavailable, "the hub \(hub) cannot answer now (status \(head.status))",
                hints: ["Where a proxy stands in front of the hub, see whether it reaches it."])
        default: throw refusal(hub, "answers with status \(head.status)", [urlHint])
        }
    }

    private static func refusal(_ hub: HubAddress, _ what: String, _ hints: [String]) -> BackupFailure {
        BackupFailure(.invalidInput, "\(hub) \(what)", hints: hints)
    }

    /// A failure as a cause: its sentence, and its own cause.
    private struct Said: Error, CustomStringConvertible {
        let description: String
        init(_ failure: BackupFailure) { description = failure.description }
    }
}

extension HubAddress {
    /// A word on the port where it is the one that a URL has without naming any.
    fileprivate var usualPortHint: String? {
        guard port == (isSecure ? 443 : 80) else { return nil }
        return "The URL means port \(port); Backrest listens on 9898 and Cairn on 8007 unless told otherwise."
    }
}

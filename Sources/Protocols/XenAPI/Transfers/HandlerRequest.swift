import AsyncHTTPClient
import BackupFormats
import NIOCore
import NIOHTTP1

/// A request to one of the HTTP handlers: `/export/`, `/import_raw_vdi/`, … (Spec: xo-proxy §6.5.)
struct HandlerRequest: Sendable {
    let path: String
    /// Without session and task.
    let query: [(name: String, value: String)]
    /// For the task on the host, and for errors: `Export of disk …`.
    let label: String
}

/// Where a handler's request goes, with session and task in its query. Never shown: the session is as good as a password.
struct HandlerURL: Sendable {
    private var address: XenAddress
    private var path: String
    private var query: [(name: String, value: String)]

    init(_ request: HandlerRequest, _ state: XenSession.State) {
        address = state.address
        path = state.address.path + request.path
        query = [("session_id", state.reference)] + request.query
    }

    var text: String {
        var server = address
        server.path = ""
        let pairs = query.map { "\(PercentCoding.encode($0.name))=\(PercentCoding.encode($0.value))" }
        return "\(server.url)\(path)?\(pairs.joined(separator: "&"))"
    }

    /// `host:port`, for errors.
    var display: String { address.display }

    func with(task: String) -> HandlerURL { with("task_id", task) }

    /// With a member of the query set.
    func with(_ name: String, _ value: String) -> HandlerURL {
        var result = self
        result.query.removeAll { $0.name == name }
        result.query.append((name, value))
        return result
    }

    /// Follows a redirection; members of the query that the location lacks are kept.
    ///
    /// - Throws: ``BackupFailure`` where the location is not one, or leads from TLS to plain HTTP.
    func redirected(to location: String) throws(BackupFailure) -> HandlerURL {
        var result = self
        let bare = location.prefix { $0 != "?" && $0 != "#" }
        let given = location.dropFirst(bare.count + 1).prefix { $0 != "#" }
        if bare.hasPrefix("/") && !bare.hasPrefix("//") {
            result.path = String(bare)
        } else {
            guard bare.contains("://"), var target = XenAddress(String(bare)) else {
                throw BackupFailure(.corruptData, "The host \(display) redirects to what is no address")
            }
            guard target.scheme == address.scheme || target.scheme == "https" else {
                throw BackupFailure(
                    .notAuthorized, "The host \(display) redirects from TLS to \(target.display) without it")
            }
            // A slash at the end belongs to the handler's name.
            result.path = target.path + (bare.hasSuffix("/") ? "/" : "")
            target.path = ""
            target.userName = nil
            target.password = nil
            result.address = target
        }
        var names: Set<String> = []
        var pairs: [(name: String, value: String)] = []
        for pair in given.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentCoding.decode(parts[0]),
                let value = PercentCoding.decode(parts.count > 1 ? parts[1] : "")
            else { continue }
            names.insert(name)
            pairs.append((name, value))
        }
        result.query = pairs + query.filter { !names.contains($0.name) }
        return result
    }
}

extension HTTPClientResponse {
    /// Where the answer sends the caller, if it does.
    var redirection: String? {
        [301, 302, 303, 307, 308].contains(status.code) ? headers.first(name: "location") : nil
    }
}

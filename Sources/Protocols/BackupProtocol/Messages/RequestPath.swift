/// The path of a request target, as the session and the REST API read it. (Spec: protocol A.3.)
package enum RequestPath {
    /// Path and query; the first `?` separates them.
    package static func split(_ target: String) -> (path: String, query: String) {
        guard let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) else { return (target, "") }
        return (String(target[..<mark]), String(target[target.index(after: mark)...]))
    }

    /// The components that are not empty, still percent-encoded.
    package static func components(_ path: String) -> [Substring] {
        path.split(separator: "/", omittingEmptySubsequences: true)
    }

    /// The path without empty components: `//a///b/` becomes `/a/b`, and nothing becomes `/`.
    package static func normalized(_ path: String) -> String {
        "/" + components(path).joined(separator: "/")
    }

    /// Whether no component begins with a dot. Others are answered with 400.
    package static func isAllowed(_ path: String) -> Bool {
        components(path).allSatisfy { $0.utf8.first != UInt8(ascii: ".") }
    }
}

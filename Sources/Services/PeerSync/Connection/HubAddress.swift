import BackupFormats

/// Where a hub is reached: `https://host[:port][/prefix]` or `http://…`. (Spec: backrest-sync §3.1.)
package struct HubAddress: Sendable, Hashable, CustomStringConvertible {
    private static let maxBytes = 2048

    package let isSecure: Bool
    /// IPv6 without brackets.
    package let host: String
    package let port: Int
    /// Without a slash at its end; empty or `/prefix`.
    package let path: String
    /// SHA-256 of the certificate as `aa:bb:…`; nil where the machine's authorities vouch for it.
    package let fingerprint: String?

    /// - Throws: ``BackupFailure`` of kind `invalidInput` with what is wrong, and an example.
    package init(parsing url: String, fingerprint: String? = nil) throws {
        func refuse(_ what: String) -> BackupFailure {
            BackupFailure(
                .invalidInput, "the URL '\(url.prefix(200))' of the hub \(what)",
                hints: ["Give scheme, host and port, for example https://backup.example.org:8007"])
        }
        guard url.utf8.count <= Self.maxBytes, let mark = url.firstRange(of: "://") else {
            throw refuse("has no scheme")
        }
        switch url[..<mark.lowerBound].lowercased() {
        case "https": isSecure = true
        case "http": isSecure = false
        default: throw refuse("is neither https nor http")
        }
        let rest = url[mark.upperBound...]
        let authority = rest.prefix { $0 != "/" }
        var path = String(rest.dropFirst(authority.count))
        while path.hasSuffix("/") { path.removeLast() }
        let isPlain = path.utf8.allSatisfy {
            $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#")
        }
        guard isPlain else { throw refuse("has a query, a fragment or blanks") }
        guard !authority.contains("@") else { throw refuse("holds a login, which is not used") }
        guard let (host, port) = Self.split(authority) else { throw refuse("has no host, or a port that is none") }
        self.host = host
        self.port = port ?? (isSecure ? 443 : 80)
        self.path = path
        self.fingerprint = fingerprint
    }

    private static func split(_ authority: Substring) -> (host: String, port: Int?)? {
        var host = authority
        var port: Int?
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else { return nil }
            port = Int(number)
            host = authority[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        return (String(host), port)
    }

    /// The URL, without the fingerprint.
    package var description: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return "\(isSecure ? "https" : "http")://\(name):\(port)\(path)"
    }
}

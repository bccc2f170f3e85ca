import BackupFormats

/// The address of a host: `[http[s]:/*][user[:password]@]host[:port][/path]`. (Spec: xo-proxy §2.0.)
package struct XenAddress: Sendable, Hashable {
    /// `http` or `https`.
    package var scheme: String
    /// Name or IP address; of IPv6 without brackets.
    package var host: String
    /// Nil: that of the scheme.
    package var port: Int?
    /// Empty, or beginning with a slash and ending without one.
    package var path: String
    package var userName: String?
    package var password: String?

    package init(scheme: String = "https", host: String, port: Int? = nil, path: String = "") {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
    }

    /// Nil where the text is not of that form.
    package init?(_ text: String, defaultScheme: String = "https") {
        var rest = Substring(text)
        scheme = defaultScheme
        for candidate in ["https:", "http:"] where rest.lowercased().hasPrefix(candidate) {
            scheme = String(candidate.dropLast())
            rest = rest.dropFirst(candidate.count)
            while rest.first == "/" { rest = rest.dropFirst() }
            break
        }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        var authority = rest[..<end]
        path = String(rest[end...].prefix { $0 != "?" && $0 != "#" })
        while path.hasSuffix("/") { path.removeLast() }
        if let at = authority.lastIndex(of: "@") {
            let credentials = authority[..<at]
            authority = authority[authority.index(after: at)...]
            let parts = credentials.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            userName = parts.first.flatMap { PercentCoding.decode($0) }
            password = parts.count > 1 ? PercentCoding.decode(parts[1]) : nil
        }
        guard let (host, port) = Self.hostAndPort(authority) else { return nil }
        self.host = host
        self.port = port
    }

    /// `name`, `name:port`, `[v6]`, `[v6]:port`, and a bare IPv6 address.
    private static func hostAndPort(_ text: Substring) -> (String, Int?)? {
        var host = text
        var portText: Substring?
        if text.first == "[" {
            guard let close = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<close]
            let rest = text[text.index(after: close)...]
            if !rest.isEmpty {
                guard rest.first == ":" else { return nil }
                portText = rest.dropFirst()
            }
        } else if text.count(where: { $0 == ":" }) == 1, let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            portText = text[text.index(after: colon)...]
        }
        let isPlain = host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"/\\@?#[]\"<>".utf8.contains($0) }
        guard !host.isEmpty, isPlain else { return nil }
        guard let portText else { return (String(host), nil) }
        guard portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(portText),
            (1...65535).contains(port)
        else { return nil }
        return (String(host), port)
    }

    /// `host` or `host:port`, for people.
    package var display: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port.map { "\(name):\($0)" } ?? name
    }

    /// Without credentials, ready for a path to follow.
    var url: String { "\(scheme)://\(display)\(path)" }

    /// Another member of the same pool: its address, with scheme and path of this one, and its port unless it names one.
    func member(_ address: String) -> XenAddress? {
        guard var other = XenAddress(address, defaultScheme: scheme) else { return nil }
        other.port = other.port ?? port
        other.path = path
        other.userName = nil
        other.password = nil
        return other
    }
}

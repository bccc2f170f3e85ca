import BackupFormats
import ObjectStorage

/// Takes an address apart.
struct RemoteURLReader {
    private let scheme: Substring
    /// After `scheme:` and the slashes.
    private var rest: Substring
    private(set) var options: JSONObject = [:]

    init(_ text: String) throws {
        guard let colon = text.firstIndex(of: ":") else {
            throw Self.wrong("it has no scheme such as file:// or nfs://")
        }
        scheme = text[..<colon]
        rest = text[text.index(after: colon)...]
        // Two slashes belong to the scheme; more to the path.
        if rest.hasPrefix("//") { rest = rest.dropFirst(2) }
        guard text.utf8.count <= 16 << 10 else { throw Self.wrong("it is too long") }
    }

    mutating func place() throws -> RemoteURL.Place {
        switch scheme {
        case "file":
            try takeOptions()
            return .file(path: "/" + rest.drop { $0 == "/" })
        case "nfs":
            try takeOptions()
            return try nfs()
        case "smb": return try smb()
        case "s3", "s3+http": return try s3()
        case "azure", "azurite", "azurite+http": return try azure()
        default: throw Self.wrong("its scheme \(scheme.prefix(20)) is unknown")
        }
    }

    private func nfs() throws -> RemoteURL.Place {
        let shape = "it should look like nfs://host:/path or nfs://host:port:/path"
        let host: Substring
        var after: Substring
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            host = rest[...end]
            after = rest[rest.index(after: end)...]
        } else {
            host = rest.prefix { $0 != ":" && $0 != "/" }
            after = rest[host.endIndex...]
        }
        guard !host.isEmpty, after.first == ":" else { throw Self.wrong(shape) }
        after = after.dropFirst()
        var port: Int?
        if let first = after.first, first != "/" {
            let digits = after.prefix { $0 != ":" }
            guard let number = UInt16(digits), number > 0, after[digits.endIndex...].hasPrefix(":") else {
                throw Self.wrong(shape)
            }
            port = Int(number)
            after = after[digits.endIndex...].dropFirst()
        }
        guard after.hasPrefix("/") else { throw Self.wrong(shape) }
        return .nfs(host: String(host), port: port, path: String(after))
    }

    private mutating func smb() throws -> RemoteURL.Place {
        let shape = #"it should look like smb://user:password@domain\\host\share"#
        // Passwords may hold any character, so the last @ is the one.
        guard let at = rest.lastIndex(of: "@") else { throw Self.wrong(shape) }
        let credentials = rest[..<at]
        rest = rest[rest.index(after: at)...]
        try takeOptions()
        guard let colon = credentials.firstIndex(of: ":") else { throw Self.wrong(shape) }
        guard let mark = rest.firstRange(of: #"\\"#) else { throw Self.wrong(shape) }
        let domain = rest[..<mark.lowerBound]
        let place = rest[mark.upperBound...]
        let parts = place.split(separator: "\0", maxSplits: 1, omittingEmptySubsequences: false)
        let share = (parts.first ?? "").split(separator: "\\", maxSplits: 1, omittingEmptySubsequences: false)
        guard share.count == 2, share.allSatisfy({ !$0.isEmpty }) else { throw Self.wrong(shape) }
        return .smb(
            RemoteURL.SMBShare(
                userName: String(credentials[..<colon]),
                password: String(credentials[credentials.index(after: colon)...]), domain: String(domain),
                host: String(share[0]), share: String(share[1]), folder: parts.count > 1 ? String(parts[1]) : ""))
    }

    private mutating func s3() throws -> RemoteURL.Place {
        var region: String?
        if let mark = rest.firstIndex(of: "#") {
            region = PercentCoding.decode(rest[rest.index(after: mark)...])
            if region?.isEmpty ?? true { region = nil }
            rest = rest[..<mark]
        }
        try takeOptions()
        let (user, secret, host, path) = try authority("s3://key:secret@host/bucket")
        let names = path.split(separator: "/")
        guard let bucket = names.first else { throw Self.wrong("it names no bucket") }
        return .s3(
            RemoteURL.S3Place(
                isTLS: scheme == "s3", accessKey: user, secretKey: secret, host: host, bucket: String(bucket),
                folder: names.dropFirst().joined(separator: "/"), region: region))
    }

    private mutating func azure() throws -> RemoteURL.Place {
        try takeOptions()
        let (account, key, host, path) = try authority("\(scheme)://account:key@host/container")
        return .azure(
            RemoteURL.AzurePlace(
                scheme: String(scheme), account: account, key: key, host: host, path: path))
    }

    /// `user:secret@host/path` with everything percent-encoded.
    private func authority(_ shape: String) throws -> (user: String, secret: String, host: String, path: String) {
        let authority = rest.prefix { $0 != "/" }
        let path = rest[authority.endIndex...].drop { $0 == "/" }
        guard let at = authority.lastIndex(of: "@") else {
            throw Self.wrong("it should look like \(shape), with key and secret percent-encoded")
        }
        let credentials = authority[..<at]
        let host = authority[authority.index(after: at)...]
        let parts = credentials.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !host.isEmpty, host.allSatisfy({ !"@\\ ".contains($0) }) else {
            throw Self.wrong("it should look like \(shape), with key and secret percent-encoded")
        }
        guard let user = PercentCoding.decode(parts[0]), let secret = PercentCoding.decode(parts[1]),
            let path = PercentCoding.decode(path)
        else { throw Self.wrong("a % in it is not followed by two hexadecimal digits") }
        return (user, secret, String(host), path)
    }

    /// Cuts the query off. Its values are JSON; none means `false`.
    private mutating func takeOptions() throws {
        guard let mark = rest.firstIndex(of: "?") else { return }
        let query = rest[rest.index(after: mark)...]
        rest = rest[..<mark]
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentCoding.decode(pair[0]), !name.isEmpty,
                let text = pair.count > 1 ? PercentCoding.decode(pair[1].replacing("+", with: "%20")) : ""
            else { throw Self.wrong("a % in its options is not followed by two hexadecimal digits") }
            guard !text.isEmpty else {
                options[name] = false
                continue
            }
            guard let value = try? JSONValue(parsing: text) else {
                throw Self.wrong("the value of its option \(name.prefix(40)) is not JSON")
            }
            options[name] = value
        }
    }

    private static func wrong(_ reason: String) -> BackupFailure {
        BackupFailure(.invalidInput, "The address of the remote cannot be read: \(reason)")
    }
}

package import BackupFormats

/// Which datastore of which server, and who asks: `[[auth-id@]host[:port]:]datastore`. (Spec: rest G.1.)
package struct Repository: Hashable, Sendable {
    package static let defaultHost = "localhost"
    package static let defaultPort = 8007
    /// Characters of a datastore's name.
    static let nameLengths = 3...32

    package let authID: AuthID
    /// A name or an address, IPv6 without brackets.
    package let host: String
    package let port: Int
    package let datastore: String

    package init(authID: AuthID = .root, host: String = defaultHost, port: Int = defaultPort, datastore: String) {
        self.authID = authID
        self.host = host
        self.port = port
        self.datastore = datastore
    }

    /// Reads any of the forms; an IPv6 address stands in brackets.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` that names the part that is wrong.
    package init(parsing text: String) throws {
        func refuse(_ reason: String) -> BackupFailure {
            BackupFailure(
                .invalidInput, "'\(text)' is no repository: \(reason)",
                hints: ["A repository is [[user@realm[!token]@]host[:port]:]datastore."])
        }
        var rest = Substring(text)
        var authID: AuthID?
        if let at = rest.lastIndex(of: "@") {
            guard let parsed = AuthID(parsing: rest[..<at]) else {
                throw refuse("'\(rest[..<at])' is no user or token")
            }
            authID = parsed
            rest = rest[rest.index(after: at)...]
        }
        var host: Substring?
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw refuse("the bracket is not closed") }
            host = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
            guard rest.first == ":" else { throw refuse("the name of the datastore is missing") }
            rest = rest.dropFirst()
        }
        var parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        let name = parts.removeLast()
        if host == nil, !parts.isEmpty { host = parts.removeFirst() }
        guard parts.count <= 1 else { throw refuse("there are too many colons (brackets around an IPv6 address?)") }
        var port: Int?
        if let part = parts.first {
            guard let number = Int(part), (1...65535).contains(number) else { throw refuse("'\(part)' is no port") }
            port = number
        }
        if authID != nil, host == nil { throw refuse("a user needs a host behind it") }
        if let host, host.isEmpty || host.contains(where: { $0 == "/" || $0.isWhitespace }) {
            throw refuse("'\(host)' is no host")
        }
        guard SafeID.isValid(name), Self.nameLengths.contains(name.utf8.count) else {
            throw refuse("'\(name)' is no name of a datastore")
        }
        self.init(
            authID: authID ?? .root, host: host.map { String($0) } ?? Self.defaultHost,
            port: port ?? Self.defaultPort, datastore: String(name))
    }

    /// How the server is called in the files of fingerprints and tickets.
    package var serverName: String {
        let host = host.contains(":") ? "[\(host)]" : host
        return port == Self.defaultPort ? host : "\(host):\(port)"
    }
}

extension Repository: CustomStringConvertible {
    package var description: String { "\(authID)@\(serverName):\(datastore)" }
}

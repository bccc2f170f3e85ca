package import BackupFormats
package import Platform

/// The files that the client keeps for its user, shared with the stock client: `fingerprints`, `encryption-key.json`
/// and `master-public.pem` below the configuration folder, `tickets` below the runtime folder. (Spec: rest G.1.)
package struct ClientFiles: Sendable {
    static let folderName = "proxmox-backup"
    static let byteLimit = 1 << 20

    private let environment: Environment

    package init(environment: Environment) {
        self.environment = environment
    }

    private func path(_ folder: String?, _ name: String) -> String? {
        folder.map { "\($0)/\(Self.folderName)/\(name)" }
    }

    package var keyFile: String? { path(environment.configFolder, "encryption-key.json") }
    package var masterKeyFile: String? { path(environment.configFolder, "master-public.pem") }
    private var fingerprintsFile: String? { path(environment.configFolder, "fingerprints") }
    private var ticketsFile: String? { path(environment.runtimeFolder ?? environment.cacheFolder, "tickets") }

    /// The whole file, nil where there is none.
    package func read(_ path: String) throws -> [UInt8]? {
        do { return try FileSystem.read(path, limit: Self.byteLimit) } catch {
            if error.isMissing { return nil }
            throw error.failure("\(path) cannot be read")
        }
    }

    private func replace(_ path: String, with bytes: [UInt8]) throws {
        do {
            if let slash = path.lastIndex(of: "/") { try FileSystem.makeFolders(String(path[..<slash]), mode: 0o700) }
            try AtomicFile.replace(path, with: bytes, mode: 0o600)
        } catch let error as SystemError {
            throw error.failure("\(path) cannot be written")
        }
    }

    // MARK: - Fingerprints

    /// The certificate that was accepted for a server, as it is written in the file.
    package func fingerprint(of server: String) throws -> String? {
        try fingerprints().last { $0.server == server }?.fingerprint
    }

    package func setFingerprint(_ fingerprint: String, of server: String) throws {
        guard let file = fingerprintsFile else { return }
        let lines = try fingerprints().filter { $0.server != server } + [(server, fingerprint)]
        try replace(file, with: Array(lines.map { "\($0.server) \($0.fingerprint)\n" }.joined().utf8))
    }

    private func fingerprints() throws -> [(server: String, fingerprint: String)] {
        guard let file = fingerprintsFile, let bytes = try read(file) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.count == 2 ? (String(words[0]), String(words[1])) : nil
        }
    }

    // MARK: - Tickets

    /// A ticket that is still valid for a while.
    package func ticket(of user: AuthID, at server: String, now: Int64) -> LoginTicket? {
        guard let entry = tickets()[server]?[user.description], let issued = entry["timestamp"]?.intValue,
            let ticket = entry["ticket"]?.stringValue, let csrf = entry["token"]?.stringValue,
            LoginTicket.usableAges.contains(now - issued)
        else { return nil }
        return LoginTicket(ticket: ticket, csrf: csrf, issued: issued)
    }

    /// Keeps a ticket, or forgets it; drops those of all servers that are too old.
    package func setTicket(_ ticket: LoginTicket?, of user: AuthID, at server: String, now: Int64) throws {
        guard let file = ticketsFile else { return }
        var kept = JSONObject()
        for member in tickets().objectValue?.members ?? [] {
            var users = JSONObject()
            for entry in member.value.objectValue?.members ?? [] {
                guard let issued = entry.value["timestamp"]?.intValue, LoginTicket.usableAges.contains(now - issued)
                else { continue }
                users[entry.name] = entry.value
            }
            if !users.members.isEmpty { kept[member.name] = .object(users) }
        }
        var users = kept[server]?.objectValue ?? JSONObject()
        users[user.description] = ticket.map {
            ["timestamp": .integer($0.issued), "ticket": .string($0.ticket), "token": .string($0.csrf)]
        }
        kept[server] = users.members.isEmpty ? nil : .object(users)
        try replace(file, with: Array(JSONValue.object(kept).compactText.utf8))
    }

    private func tickets() -> JSONValue {
        guard let file = ticketsFile, let bytes = try? read(file) else { return .object([:]) }
        return (try? JSONValue(parsing: bytes)) ?? .object([:])
    }
}

/// Proof of a login.
package struct LoginTicket: Sendable, Equatable {
    /// Seconds after which a cached ticket is not used any more, and a little clock skew. (Spec: rest D.2, G.1.)
    static let usableAges: Range<Int64> = -60..<7140
    /// Seconds after which it is renewed.
    package static let renewalAge: Int64 = 15 * 60

    package let ticket: String
    /// What writing requests carry beside the cookie.
    package let csrf: String
    /// Unix seconds.
    package let issued: Int64

    package init(ticket: String, csrf: String, issued: Int64) {
        self.ticket = ticket
        self.csrf = csrf
        self.issued = issued
    }
}

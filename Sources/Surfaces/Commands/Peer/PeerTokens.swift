import ArgumentParser
import BackupFormats
import BackupHTTP2
import BackupProtocol

struct PeerTokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Pairing tokens: with one, another instance becomes a member of this hub.",
        subcommands: [PeerTokenCreate.self, PeerTokenList.self, PeerTokenRemove.self])
}

struct PeerTokenCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Makes a pairing token and shows it, once.",
        discussion: """
            Members always report what their own administrators let this hub see; --permission is what they may see and do \
            here, which is usually nothing.
            """)

    private static let lifetime: Int64 = 900

    @Option(help: "What it is for.") var label: String?
    @OptionGroup var permissions: PermissionOptions
    @Option(help: ArgumentHelp("How long it is good; 0 for ever. \(TimeSpan.form). Default: 15m.", valueName: "time"))
    var lifetime: TimeSpan?
    @Option(help: "How many instances may use it; 0 for any number.") var uses = 1
    @Option(help: "Where members reach this server. Default: its host name with the port of the API.") var url: String?
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var parameters: JSONObject = [
            "permissions": permissions.json, "lifetime": .integer(lifetime?.seconds ?? Self.lifetime),
            "max-uses": .integer(uses),
        ]
        if let label { parameters["label"] = .string(label) }
        let (answer, place) = try await owner.withServer { [parameters] server in
            let answer = try await server.call(
                "POST", "\(Peers.path)/tokens", parameters, trying: "The pairing token cannot be made")
            return (answer, try await whereabouts(of: server))
        }
        let token = answer["token"]?.stringValue ?? ""
        var line = "cairn peer add '\(token)' --url \(place.url)"
        if let fingerprint = place.fingerprint { line += " --fingerprint \(fingerprint)" }
        line += " --permission read-operations"
        var object = answer.objectValue ?? [:]
        object["url"] = .string(place.url)
        object["fingerprint"] = place.fingerprint.map { .string($0) }
        object["command"] = .string(line)
        output.write(.object(object)) { _ in
            var lines = [token, "", "On a Cairn that is to report here, run:", "  \(line)", ""]
            lines += ["In Backrest, under Settings, add a known host with this token and the URL", "  \(place.url)"]
            if place.fingerprint != nil {
                lines.append("Backrest must trust the certificate of this server, or reach it through a proxy.")
            }
            return lines.joined(separator: "\n")
        }
        Peers.warn(of: answer)
    }

    /// Where this server is reached from outside, and its certificate's fingerprint where nobody vouches for it.
    private func whereabouts(of server: RemoteServer) async throws -> (url: String, fingerprint: String?) {
        let own = try await server.call("GET", "\(Peers.path)/self", trying: "The server's name cannot be read")
        let chain = try await server.call(
            "GET", "/nodes/localhost/certificates/info", trying: "The server's certificate cannot be read")
        let certificate = chain.arrayValue?.first
        let isSelfSigned = certificate?["issuer"] == certificate?["subject"]
        let fingerprint = isSelfSigned ? own["fingerprint"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 } : nil
        if let url { return (url, url.lowercased().hasPrefix("https") ? fingerprint : nil) }
        let address = server.address
        // The state folder knows this machine's own way to the server, which is none from outside.
        let host = address.host.hasPrefix("127.") ? own["host"]?.stringValue ?? address.host : address.host
        return ("https://\(host.contains(":") ? "[\(host)]" : host):\(address.port)", fingerprint)
    }
}

struct PeerTokenList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists the pairing tokens that can still be used, without their secrets.")

    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            "\(Peers.path)/tokens", as: output,
            columns: [
                Column("id", member: "id"), Column("label", member: "label"), .time("created", member: "created"),
                Column("expires") { $0["expires"]?.intValue.map { BackupTime.text($0) } ?? "never" },
                Column("uses") { "\(Column.text($0["uses"])) of \($0["max-uses"].map { Column.text($0) } ?? "any")" },
                Column("permissions", member: "permissions"),
            ], trying: "The pairing tokens cannot be listed")
    }
}

struct PeerTokenRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Removes a pairing token.")

    @Argument(help: ArgumentHelp("Its id, as `list` shows it.", valueName: "id")) var id: String
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer {
            try await $0.call(
                "DELETE", "\(Peers.path)/tokens/\(FormText.encode(id))",
                trying: "The pairing token \(id) cannot be removed")
        }
    }
}

import ArgumentParser
import BackupFormats
import BackupProtocol

struct PeerAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Joins a hub: this server reports to it from now on.",
        discussion: "The hub sees nothing until --permission lets it: read-operations shows all backups and tasks.")

    @Argument(help: ArgumentHelp("The pairing token that the hub has made.", valueName: "token")) var token: String
    @Option(help: "Where the hub is reached: https://host:port, or http:// for a listener without TLS.") var url: String
    @Option(help: "SHA-256 of the hub's certificate. Default: an authority must vouch for it.") var fingerprint: String?
    @OptionGroup var permissions: PermissionOptions
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var parameters: JSONObject = [
            "token": .string(token), "url": .string(url), "permissions": permissions.json,
        ]
        if let fingerprint { parameters["fingerprint"] = .string(fingerprint) }
        let peer = try await owner.withServer { [parameters] in
            try await $0.call("POST", Peers.path, parameters, trying: "The hub at \(url) cannot be joined")
        }
        let name = peer["instance"]?.stringValue ?? ""
        output.write(peer) { _ in "joins \(name); `cairn peer show \(name)` tells how it stands" }
        if permissions.texts.isEmpty {
            Output.note(
                "note: \(name) sees nothing of this server until `cairn peer permissions \(name)` grants something")
        }
        Peers.warn(of: peer)
    }
}

struct PeerList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists the peers, and how it stands with each.")

    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await owner.list(
            Peers.path, as: output,
            columns: [
                Column("instance", member: "instance"), Column("role", member: "role"),
                Column("state", member: "state"),
                .time("heartbeat", member: "last-heartbeat"), Column("operations", member: "operations"),
                Column("url", member: "url"), Column("message", member: "message"),
            ], trying: "The peers cannot be listed")
    }
}

struct PeerShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Shows all of one peer.",
        discussion: "Settings that it lets this server see are in the JSON forms of the output, without secrets.")

    @Argument(help: ArgumentHelp("Its instance id or key id.", valueName: "name")) var name: String
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let peer = try await owner.withServer {
            try await $0.call("GET", Peers.path(of: name), trying: "The peer \(name) cannot be shown")
        }
        output.write(peer) { peer in
            Table.render(["name", "value"], (peer.objectValue?.members ?? []).map { [$0.name, Self.text($0)] })
        }
    }

    private static func text(_ member: JSONObject.Member) -> String {
        switch member.name {
        case "last-heartbeat", "added": member.value.intValue.map { BackupTime.text($0) } ?? ""
        case "repos", "plans": (member.value.arrayValue ?? []).map { Column.text($0["id"]) }.joined(separator: " ")
        case "config":
            "\(count("repos", in: member.value)) repos, \(count("plans", in: member.value)) plans"
        default: Column.text(member.value)
        }
    }

    private static func count(_ name: String, in config: JSONValue) -> Int { config[name]?.arrayValue?.count ?? 0 }
}

struct PeerPermissions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "permissions", abstract: "Shows or sets what a peer may see and do here.",
        discussion: "What is given replaces what was granted before.")

    @Argument(help: ArgumentHelp("Its instance id or key id.", valueName: "name")) var name: String
    @OptionGroup var permissions: PermissionOptions
    @Flag(help: "Take all permissions away.") var none = false
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard permissions.texts.isEmpty || !none else {
            throw ValidationError("--none and --permission exclude each other")
        }
    }

    func run() async throws {
        let isChange = none || !permissions.texts.isEmpty
        let peer = try await owner.withServer { server in
            if isChange {
                try await server.call(
                    "PUT", Peers.path(of: name, "permissions"), ["permissions": permissions.json],
                    trying: "The permissions of \(name) cannot be set")
            } else {
                try await server.call("GET", Peers.path(of: name), trying: "The peer \(name) cannot be shown")
            }
        }
        output.write(peer["permissions"] ?? []) { list in
            let texts = (list.arrayValue ?? []).compactMap(\.stringValue)
            return texts.isEmpty ? "none" : texts.joined(separator: "\n")
        }
        Peers.warn(of: peer)
    }
}

struct PeerRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Forgets a peer and everything that came from it; its session ends at once.")

    @Argument(help: ArgumentHelp("Its instance id or key id.", valueName: "name")) var name: String
    @OptionGroup var owner: OwnerOptions

    func run() async throws {
        try await owner.withServer {
            try await $0.call("DELETE", Peers.path(of: name), trying: "The peer \(name) cannot be removed")
        }
    }
}

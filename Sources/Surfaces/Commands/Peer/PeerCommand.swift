import ArgumentParser
import BackupFormats
import BackupProtocol

/// The command of peer sync; everything it does is in the API below `/peers`.
struct PeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peer", abstract: "Other instances: hubs that this server reports to, members that report to it.",
        discussion: "Peers are Cairn servers and instances of Backrest.",
        subcommands: [
            PeerTokenCommand.self, PeerAdd.self, PeerList.self, PeerShow.self, PeerPermissions.self, PeerRemove.self,
            PeerResults.self, PeerOperations.self, PeerLog.self, PeerPushConfig.self,
        ])
}

/// Paths and words that the commands share.
enum Peers {
    static let path = "/peers"

    static func path(of name: String, _ rest: String = "") -> String {
        "\(path)/peer/\(FormText.encode(name))" + (rest.isEmpty ? "" : "/" + rest)
    }

    /// Shows what the person should know about what was granted.
    static func warn(of answer: JSONValue) {
        for warning in answer["warnings"]?.arrayValue ?? [] {
            Output.note("warning: \(warning.stringValue ?? "")")
        }
    }
}

/// What a peer may see and do.
struct PermissionOptions: ParsableArguments {
    @Option(
        name: .customLong("permission"),
        help: ArgumentHelp(
            "read-operations, read-config, read-write-config or receive-shared-repos; alone for everything, or with = and "
                + "plan:NAME, repo:NAME, !plan:NAME or !repo:NAME joined by commas. May be given several times.",
            valueName: "permission"),
        completion: .list(["read-operations", "read-config", "read-write-config", "receive-shared-repos"]))
    var texts: [String] = []

    var json: JSONValue { .array(texts.map(JSONValue.string)) }
}

/// A length of time on the command line: `90s`, `15m`, `12h`, `2d`, `1w`, or seconds without a letter.
struct TimeSpan: ExpressibleByArgument, Sendable {
    static let form = "A number with s, m, h, d or w"

    let seconds: Int64

    init?(argument: String) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400]
        var digits = argument[...]
        var unit: Int64 = 1
        if let last = digits.last, let found = units[last] {
            unit = found
            digits.removeLast()
        }
        guard let number = Int64(digits), number >= 0 else { return nil }
        let (seconds, overflows) = number.multipliedReportingOverflow(by: unit)
        guard !overflows else { return nil }
        self.seconds = seconds
    }
}

import ArgumentParser
import BackupFormats
import ManagementAPI
import Testing

@testable import Commands

/// A program with the commands and nothing else.
private struct Program: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cairn", subcommands: CairnCommands.all)
}

@Suite("The command line")
struct CommandLineTests {
    @Test(
        "is understood as scripts for the stock client write it",
        arguments: [
            "backup root.pxar:/etc disk.img:/dev/sdb --repository u@pbs@h:store --ns a/b --backup-type vm --backup-id 100 "
                + "--backup-time 1700000000 --exclude *.tmp --exclude /x --include-dev /mnt --all-file-systems "
                + "--skip-lost-and-found --crypt-mode encrypt --keyfile k --master-pubkey-file m --chunk-size 512 "
                + "--entries-max 5 --rate 10MB --burst 20MB --dry-run",
            "restore host/a/2024-06-01T00:00:00Z root.pxar /tmp/x --pattern **/a --allow-existing-dirs --ignore-acls --ns n",
            "restore host/a root.pxar - --crypt-mode none",
            "snapshot list host/a --output-format json", "snapshots", "snapshot files host/a/2024-06-01T00:00:00Z",
            "files host/a/2024-06-01T00:00:00Z", "forget host/a/2024-06-01T00:00:00Z",
            "snapshot notes update host/a/2024-06-01T00:00:00Z text",
            "snapshot protected update host/a/2024-06-01T00:00:00Z true",
            "upload-log host/a/2024-06-01T00:00:00Z file", "list", "group list", "group forget host/a",
            "change-owner host/a u@pbs",
            "prune host/a --keep-last 3 --keep-daily 7 --dry-run --quiet", "catalog dump host/a/2024-06-01T00:00:00Z",
            "namespace list --max-depth 2", "namespace create a/b", "namespace delete a --delete-groups", "status",
            "login",
            "logout", "version", "task list --all", "task log UPID:x", "task stop UPID:x", "key create k --kdf none",
            "key show k", "key change-passphrase k --kdf pbkdf2 --hint h", "key create-master-key",
            "key import-master-pubkey p", "key import-with-master-key p r k",
            "datastore create name /path --reuse --state /s", "datastore list --state /s",
            "datastore remove name --state /s",
            "user create u@pbs --password secret-word --state /s", "user list --state /s",
            "user remove u@pbs --state /s",
            "user generate-token u@pbs t --state /s", "user list-tokens u@pbs --state /s",
            "user delete-token u@pbs t --state /s",
            "acl update /datastore/x Admin --auth-id u@pbs --state /s", "acl list --state /s", "cert info --state /s",
            "datastore show name", "datastore update name --comment x --verify-new --delete gc-schedule",
            "garbage-collection start s", "garbage-collection status s", "garbage-collection list", "garbage-collect",
            "verify s --ns a --ignore-verified false --outdated-after 30 --max-depth 2",
            "prune --all --max-depth 1 --keep-last 3 --store s --state /s", "prune-job list", "prune-job show j",
            "prune-job remove j", "verify-job run j", "sync-job list", "remote list", "remote scan r s --groups --ns a",
            "pull r s t", "push t r s", "user update u@pbs --enable false", "user passwd u@pbs --password secret-word",
            "user permissions u@pbs --path /", "node show", "task list --state /s", "namespace list --store s",
            "peer token create --label x --permission read-config=repo:a --lifetime 2d --uses 0 --url https://h:1",
            "peer token list", "peer token remove t", "peer list", "peer show n --output-format json",
            "peer add k:s#h --url http://h --fingerprint aa --permission read-operations --permission read-config=*",
            "peer remove n", "peer permissions n", "peer permissions n --none",
            "peer operations --peer n --failed --since 2d --text x --kind backup --limit 5", "peer results",
            "peer log 5 --follow", "peer push-config n f --delete-plan p --delete-repo r",
        ])
    func parses(_ line: String) throws {
        _ = try Program.parseAsRoot(line.split(separator: " ").map { String($0) })
    }

    @Test(
        "that is wrong ends with 255",
        arguments: [
            "backup", "nonsense", "restore a", "prune host/a --keep-last x", "prune --keep-last 1",
            "prune host/a --all", "list --store s --repository s", "datastore update s --verify-new maybe",
            "peer token create --lifetime soon", "peer add k:s#h", "peer push-config n",
            "peer permissions n --none --permission read-config",
        ])
    func usage(_ line: String) async {
        #expect(await CairnCommands.run(Program.self, arguments: line.split(separator: " ").map { String($0) }) == 255)
    }

    @Test("that asks for help ends with 0")
    func help() async {
        #expect(await CairnCommands.run(Program.self, arguments: ["backup", "--help"]) == 0)
    }

    @Test(
        "without a server ends with 255",
        arguments: [
            "snapshot list --repository 127.0.0.1:1:store",
            "backup x.conf:/etc/hostname --repository 127.0.0.1:1:store",
            "datastore list --state /nowhere", "backup a.pxar:/etc a.pxar:/usr --repository store",
            "backup a.pxar:/etc --chunk-size 100 --repository store",
            "restore nonsense a.pxar /x --repository 127.0.0.1:1:store",
        ])
    func unreachable(_ line: String) async {
        #expect(await CairnCommands.run(Program.self, arguments: line.split(separator: " ").map { String($0) }) == 255)
    }
}

/// Options made from a description, for want of a command.
private enum Verification: EndpointChoice {
    static let endpoint = "POST /admin/datastore/{store}/verify"
    static let omitted: Set<String> = ["ns"]
}

private enum Removal: EndpointChoice {
    static let endpoint = "PUT /config/datastore/{name}"
}

@Suite("Options from the description of an endpoint")
struct EndpointOptionsTests {
    private func values<Choice: EndpointChoice>(_: Choice.Type, _ line: String) throws -> JSONObject {
        try EndpointOptions<Choice>.parse(line.split(separator: " ").map { String($0) }).values
    }

    @Test("become parameters of the right kind")
    func kinds() throws {
        #expect(try values(Verification.self, "") == [:])
        #expect(
            try values(Verification.self, "--outdated-after 30 --backup-id web --ignore-verified")
                == ["backup-id": "web", "ignore-verified": true, "outdated-after": 30])
        #expect(try values(Verification.self, "--ignore-verified off") == ["ignore-verified": false])
        #expect(
            try values(Removal.self, "--delete comment --delete notify") == ["delete": ["comment", "notify"]])
    }

    @Test("leave out those of the path and what the command gives otherwise")
    func omits() {
        #expect(throws: (any Error).self) { try values(Verification.self, "--store x") }
        #expect(throws: (any Error).self) { try values(Verification.self, "--ns x") }
    }

    @Test("refuse what is no number or no boolean")
    func refuses() {
        #expect(throws: (any Error).self) { try values(Verification.self, "--outdated-after soon") }
        #expect(throws: (any Error).self) { try BooleanOptions.separated(["verify", "--ignore-verified=soon"]) }
    }

    @Test("take a boolean behind an equals sign as well")
    func equalsSign() throws {
        let line = ["--ignore-verified=no", "--delete=x", "--ns=a=b", "--", "--ignore-verified=soon"]
        #expect(
            try BooleanOptions.separated(line)
                == ["--ignore-verified", "no", "--delete=x", "--ns=a=b", "--", "--ignore-verified=soon"])
    }

    @Test("stand in the help with what the description says")
    func help() {
        let text = EndpointOptions<Verification>.helpMessage(columns: 200)
        #expect(text.contains("--outdated-after <number>") && text.contains("Days after which"))
    }

    @Test("belong to endpoints that there are")
    func exist() {
        let commands = CairnCommands.all.flatMap { Self.leaves($0) }
        #expect(commands.count > 80)
        let names = Set(Endpoint.all.map(\.name))
        let unknown = commands.flatMap { Self.choices($0) }.filter { !names.contains($0) }
        #expect(unknown == [])
    }

    private static func leaves(_ command: any ParsableCommand.Type) -> [any ParsableCommand.Type] {
        let below = command.configuration.subcommands
        return below.isEmpty ? [command] : below.flatMap { leaves($0) }
    }

    /// The endpoints of the option groups of a command.
    private static func choices(_ command: any ParsableCommand.Type) -> [String] {
        Mirror(reflecting: command.init()).children.compactMap { child in
            (type(of: child.value) as? any OptionsOfEndpoint.Type)?.endpoint
        }
    }
}

private protocol OptionsOfEndpoint {
    static var endpoint: String { get }
}

extension OptionGroup: OptionsOfEndpoint where Value: EndpointNaming {
    static var endpoint: String { Value.endpoint }
}

private protocol EndpointNaming {
    static var endpoint: String { get }
}

extension EndpointOptions: EndpointNaming {
    static var endpoint: String { Choice.endpoint }
}

@Suite("Output")
struct OutputTests {
    @Test("of a table is padded, without blanks at the end of a line")
    func table() {
        let text = Table.render(["name", "size", "note"], [["a", "10 B", ""], ["longer", "1", "x"]])
        #expect(text == "name    size  note\na       10 B\nlonger  1     x")
    }

    @Test(
        "of sizes has a unit",
        arguments: [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (39_869_698, "38.023 MiB"), (1 << 40, "1 TiB")])
    func sizes(_ bytes: Int, _ text: String) { #expect(ByteSize.text(bytes) == text) }

    @Test("of an error says why and what to do")
    func failure() {
        let inner = BackupFailure(.notAuthenticated, "wrong password", hints: ["Try again."])
        let failure = BackupFailure(.notAuthenticated, "u cannot log in", hints: ["Try again."], cause: inner)
        #expect(FailureText.render(failure) == "error: u cannot log in\n  because: wrong password\nhint: Try again.")
    }
}

@Suite("Sizes on the command line")
struct ByteSizeTests {
    @Test(
        "may have a unit",
        arguments: [
            ("100", 100), ("10KB", 10_000), ("10 KiB", 10_240), ("1.5MiB", 1_572_864), ("2gb", 2_000_000_000),
            ("7B", 7),
        ])
    func reads(_ text: String, _ bytes: Int) throws { #expect(try ByteSize.parse(text, named: "--rate") == bytes) }

    @Test("are refused where they make no sense", arguments: ["", "x", "-1", "0", "1e30", "nan", "10 XB"])
    func refuses(_ text: String) {
        #expect(throws: BackupFailure.self) { try ByteSize.parse(text, named: "--rate") }
    }
}

@Suite("A local server's address")
struct LocalServerTests {
    @Test("is read with and without brackets")
    func reads() {
        for text in ["127.0.0.1:8007", "[::1]:80"] {
            #expect(LocalServer.address(text).map { "\($0)" } == text)
        }
        #expect(LocalServer.address("nothing") == nil)
    }
}

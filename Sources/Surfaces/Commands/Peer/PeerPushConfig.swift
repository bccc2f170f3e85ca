import ArgumentParser
import BackupFormats
import BackupProtocol
import Platform

struct PeerPushConfig: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push-config", abstract: "Sends repos and plans to a member, and tells what became of them.",
        discussion: """
            FILE is JSON as Backrest keeps its configuration: its members `repos` and `plans` are sent, others are not. The \
            member must have granted read-write-config. A Cairn refuses all settings that are pushed to it.
            """)

    private static let patience = Duration.seconds(65)
    private static let pause = Duration.milliseconds(500)
    private static let fileLimit = 512 << 10

    @Argument(help: ArgumentHelp("The member's instance id or key id.", valueName: "name")) var name: String
    @Argument(help: ArgumentHelp("The file with repos and plans.", valueName: "file"), completion: .file())
    var file: String?
    @Option(help: ArgumentHelp("Remove this plan there; may be given several times.", valueName: "id"))
    var deletePlan: [String] = []
    @Option(help: ArgumentHelp("Remove this repo there; may be given several times.", valueName: "id"))
    var deleteRepo: [String] = []
    @OptionGroup var owner: OwnerOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard file != nil || !deletePlan.isEmpty || !deleteRepo.isEmpty else {
            throw ValidationError("There is nothing to send: give a file, --delete-plan or --delete-repo")
        }
    }

    func run() async throws {
        let parameters = try parameters()
        let what = "The settings of \(name) cannot be changed"
        let result = try await owner.withServer { server in
            let sent = try await server.call("POST", Peers.path(of: name, "config"), parameters, trying: what)
            return try await end(of: sent, on: server, trying: what)
        }
        let outcome = result["outcome"]?.stringValue ?? ""
        let message = result["message"]?.stringValue ?? ""
        output.write(result) { _ in message.isEmpty ? outcome : "\(outcome): \(message)" }
        guard outcome == "applied" else {
            throw BackupFailure(
                .conflict,
                outcome == "refused" ? "\(name) refused the settings" : "Nothing tells whether \(name) took them")
        }
    }

    private func parameters() throws -> JSONObject {
        var parameters: JSONObject = [:]
        if let file {
            let content: JSONValue
            do { content = try JSONValue(parsing: FileSystem.read(file, limit: Self.fileLimit)) } catch let error
                as SystemError
            {
                throw error.failure("The file \(file) cannot be read")
            } catch {
                throw BackupFailure(.invalidInput, "The file \(file) is no JSON", cause: error)
            }
            for member in ["repos", "plans"] { parameters[member] = content[member] }
        }
        if !deletePlan.isEmpty { parameters["delete-plans"] = .array(deletePlan.map(JSONValue.string)) }
        if !deleteRepo.isEmpty { parameters["delete-repos"] = .array(deleteRepo.map(JSONValue.string)) }
        return parameters
    }

    /// Waits for the member to show what it did.
    private func end(of sent: JSONValue, on server: RemoteServer, trying what: String) async throws -> JSONValue {
        let last = ContinuousClock.now + Self.patience
        var result = sent
        while result["outcome"] == "sent", ContinuousClock.now < last {
            try await Task.sleep(for: Self.pause)
            let list = try await server.call("GET", Peers.path(of: name, "config"), trying: what)
            result = list.arrayValue?.first { $0["id"] == sent["id"] } ?? result
        }
        return result
    }
}

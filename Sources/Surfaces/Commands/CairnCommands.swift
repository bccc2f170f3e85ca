package import ArgumentParser
import BackupFormats
import Platform

/// The commands of the client and of the owner. The program adds `serve` and runs them.
package enum CairnCommands {
    /// The status of every error, a wrong command line included, as the stock client has it.
    package static let failureStatus: Int32 = 255

    package static let all: [any ParsableCommand.Type] = [
        BackupCommand.self, RestoreCommand.self, SnapshotCommand.self, ListCommand.self, GroupCommand.self,
        ChangeOwnerCommand.self, PruneCommand.self, CatalogCommand.self, NamespaceCommand.self, StatusCommand.self,
        LoginCommand.self, LogoutCommand.self, VersionCommand.self, TaskCommand.self, KeyCommand.self,
        GarbageCollectCommand.self, DatastoreCommand.self, GarbageCollectionCommand.self, VerifyCommand.self,
        PruneJobCommand.self, VerifyJobCommand.self, SyncJobCommand.self, RemoteCommand.self, PullCommand.self,
        PushCommand.self, UserCommand.self, ACLCommand.self, NodeCommand.self, CertificateCommand.self,
        AlertCommand.self, AuditCommand.self, PeerCommand.self,
        SnapshotsAlias.self, FilesAlias.self, ForgetAlias.self, UploadLogAlias.self,
    ]

    /// Reads the command line, runs the command, and gives the exit status.
    package static func run(_ root: any ParsableCommand.Type, arguments: [String]? = nil) async -> Int32 {
        do {
            let arguments = try BooleanOptions.separated(arguments ?? Array(CommandLine.arguments.dropFirst()))
            var command = try root.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return 0
        } catch let failure as BackupFailure {
            Output.note(FailureText.render(failure))
            return failureStatus
        } catch {
            let code = root.exitCode(for: error)
            let text = root.fullMessage(for: error)
            if code == .success {
                Output.line(text)
                return 0
            }
            Output.note(text)
            return failureStatus
        }
    }
}

/// An error as a person reads it: what failed, why, and what to do next.
enum FailureText {
    static func render(_ failure: BackupFailure) -> String {
        var lines = ["error: \(failure.summary)"]
        var hints = failure.hints
        var cause = failure.cause
        while let current = cause {
            if let inner = current as? BackupFailure {
                lines.append("  because: \(inner.summary)")
                hints += inner.hints.filter { !hints.contains($0) }
                cause = inner.cause
            } else {
                lines.append("  because: \(current)")
                cause = nil
            }
        }
        return (lines + hints.map { "hint: \($0)" }).joined(separator: "\n")
    }
}

import ArgumentParser
import BackupFormats
import Platform
import StateDatabase

/// `cairn state`: the server's own state as a file, against the loss of the state folder.
struct StateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state", abstract: "Saves and restores users, rights, keys and configuration of a server.",
        subcommands: [Export.self, Import.self])

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "export", abstract: "Writes the state into a file. The file holds secrets: keep it safe.")

        @Argument(help: ArgumentHelp("The file; it must not exist.", valueName: "file")) var file: String
        @Option(help: ArgumentHelp("The server's state folder.", valueName: "folder")) var state: String

        func run() throws {
            let database = try StateTransfer.open(state)
            defer { database.close() }
            let document = try database.export()
            do {
                guard try !FileSystem.exists(file) else { throw BackupFailure(.conflict, "\(file) exists already") }
                try AtomicFile.replace(file, with: document, mode: 0o600, isSynced: true)
            } catch let error as SystemError {
                throw error.failure("\(file) cannot be written")
            }
        }
    }

    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import", abstract: "Replaces the state by that of a file. The server must not run.")

        @Argument(help: ArgumentHelp("A file of state export.", valueName: "file")) var file: String
        @Option(help: ArgumentHelp("The server's state folder; made if missing.", valueName: "folder")) var state:
            String

        func run() throws {
            if let process = StateTransfer.runningServer(state) {
                throw BackupFailure(
                    .conflict, "A server runs with the state folder \(state)",
                    hints: ["Stop the process \(process) first."])
            }
            let document: [UInt8]
            do { document = try FileSystem.read(file, limit: StateDatabase.exportLimit) } catch {
                throw error.failure("\(file) cannot be read")
            }
            let database = try StateDatabase(folder: StateFolder(path: state))
            defer { database.close() }
            try database.replaceState(with: document)
        }
    }
}

private enum StateTransfer {
    static func open(_ folder: String) throws -> StateDatabase {
        guard (try? FileSystem.exists("\(folder)/\(StateDatabase.fileName)")) == true else {
            throw BackupFailure(.noSuchObject, "\(folder) is no state folder of a server")
        }
        return try StateDatabase(folder: StateFolder(path: folder))
    }

    /// The process that has said in the folder that it serves with it, if it still lives.
    static func runningServer(_ folder: String) -> Int32? {
        guard let bytes = try? FileSystem.read("\(folder)/server.json", limit: StateFolder.smallFileLimit),
            let number = (try? JSONValue(parsing: bytes))?["pid"]?.intValue, let process = Int32(exactly: number),
            ProcessInformation.startTime(of: process) != nil
        else { return nil }
        return process
    }
}

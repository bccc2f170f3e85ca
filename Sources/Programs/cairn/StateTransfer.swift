import ArgumentParser
import BackupFormats
import BackupServer
import Platform
import StateDatabase

/// `cairn state`: the server's own state as a file, against the loss of the state folder.
struct StateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state", abstract: "Saves and restores users, rights, keys and configuration of a server.",
        subcommands: [Export.self, Import.self, ImportOriginal.self])

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
            try StateTransfer.requireStopped(state)
            let document: [UInt8]
            do { document = try FileSystem.read(file, limit: StateDatabase.exportLimit) } catch {
                throw error.failure("\(file) cannot be read")
            }
            let database = try StateDatabase(folder: StateFolder(path: state))
            defer { database.close() }
            try database.replaceState(with: document)
        }
    }

    struct ImportOriginal: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import-pbs",
            abstract: "Takes over the configuration of a Proxmox Backup Server. The server must not run.",
            discussion: """
                Users with their passwords, tokens with their secrets, rights, datastores, jobs and remotes; what has the \
                same name here is replaced. The certificate (proxy.pem, proxy.key) is copied where there is none, so that \
                clients see the same fingerprint. Nothing in the folder, and nothing in a datastore, is changed.
                """)

        @Argument(help: ArgumentHelp("The configuration, usually /etc/proxmox-backup.", valueName: "folder"))
        var folder: String
        @Option(help: ArgumentHelp("The server's state folder; made if missing.", valueName: "folder")) var state:
            String

        func run() throws {
            try StateTransfer.requireStopped(state)
            let original = try OriginalConfiguration(folder: folder)
            let place = try StateFolder(path: state)
            let database = try StateDatabase(folder: place)
            defer { database.close() }
            let report = try original.add(to: database)
            let certificate = try StateTransfer.copyCertificate(from: folder, to: place)
            StandardStreams.print(
                """
                users \(report.users), tokens \(report.tokens), rights \(report.rights), datastores \
                \(report.datastores), jobs \(report.jobs), remotes \(report.remotes)\
                \(certificate ? ", the certificate" : "")

                """)
            for remark in report.remarks { StandardStreams.print("\(remark)\n") }
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

    static func requireStopped(_ folder: String) throws {
        guard let process = runningServer(folder) else { return }
        throw BackupFailure(
            .conflict, "A server runs with the state folder \(folder)", hints: ["Stop the process \(process) first."])
    }

    /// Copies certificate and key where the state folder has none.
    ///
    /// - Returns: Whether they were copied.
    static func copyCertificate(from folder: String, to state: StateFolder) throws -> Bool {
        let names = ["proxy.pem", "proxy.key"]
        guard try names.allSatisfy({ try state.read($0) == nil }) else { return false }
        var files: [[UInt8]] = []
        for name in names {
            do {
                guard let bytes = try FileSystem.readIfPresent("\(folder)/\(name)", limit: StateFolder.smallFileLimit)
                else { return false }
                files.append(bytes)
            } catch {
                throw error.failure("\(folder)/\(name) cannot be read")
            }
        }
        for (name, bytes) in zip(names, files) { try state.replace(name, with: bytes) }
        return true
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

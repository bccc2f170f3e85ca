import BackupFormats
package import Platform

/// A setting that may come from several places of the environment; the first that is there wins:
/// `NAME`, `NAME_FD` (an open descriptor), `NAME_FILE`, `NAME_CMD` (a shell command's output), then a credential of
/// systemd. Only the first line counts. (Spec: rest G.1.)
package struct SecretSource: Sendable {
    /// Bytes that are read from a descriptor, file or command.
    static let byteLimit = 64 << 10

    package static let password = SecretSource(variable: "PBS_PASSWORD", credential: "password")
    package static let encryptionPassword = SecretSource(
        variable: "PBS_ENCRYPTION_PASSWORD", credential: "encryption-password")
    package static let repository = SecretSource(variable: "PBS_REPOSITORY", credential: "repository")
    package static let fingerprint = SecretSource(variable: "PBS_FINGERPRINT", credential: "fingerprint")

    package let variable: String
    /// Its name in `$CREDENTIALS_DIRECTORY`, behind `proxmox-backup-client.`.
    package let credential: String

    package init(variable: String, credential: String) {
        self.variable = variable
        self.credential = credential
    }

    /// The value, or nil where no place has one.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where a named place cannot be read or is not UTF-8.
    package func value(in environment: Environment) throws -> String? {
        if let text = environment.variables[variable] { return firstLine(text) }
        if let text = environment.variables[variable + "_FD"] {
            guard let descriptor = Int32(text), descriptor >= 0 else {
                throw BackupFailure(.invalidInput, "\(variable)_FD is no descriptor: '\(text)'")
            }
            return try read("descriptor \(descriptor)") { () throws(SystemError) in
                try StandardStreams.readAll(descriptor, limit: Self.byteLimit)
            }
        }
        if let path = environment.variables[variable + "_FILE"] {
            return try read(path) { () throws(SystemError) in try FileSystem.read(path, limit: Self.byteLimit) }
        }
        if let command = environment.variables[variable + "_CMD"] {
            guard let bytes = ShellCommand.output(of: command, limit: Self.byteLimit) else {
                throw BackupFailure(.invalidInput, "The command of \(variable)_CMD failed")
            }
            return try text(bytes, from: "the command of \(variable)_CMD")
        }
        if let folder = environment["CREDENTIALS_DIRECTORY"] {
            let path = "\(folder)/proxmox-backup-client.\(credential)"
            if (try? FileSystem.exists(path)) == true {
                return try read(path) { () throws(SystemError) in try FileSystem.read(path, limit: Self.byteLimit) }
            }
        }
        return nil
    }

    private func read(_ place: String, _ body: () throws(SystemError) -> [UInt8]) throws -> String {
        let bytes: [UInt8]
        do { bytes = try body() } catch {
            throw BackupFailure(.invalidInput, "\(variable) cannot be read from \(place)", cause: error)
        }
        return try text(bytes, from: place)
    }

    private func text(_ bytes: [UInt8], from place: String) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw BackupFailure(.invalidInput, "\(variable) from \(place) is not UTF-8")
        }
        return firstLine(text)
    }

    private func firstLine(_ text: String) -> String {
        var line = text.prefix { !$0.isNewline }
        if line.last == "\r" { line.removeLast() }
        return String(line)
    }
}

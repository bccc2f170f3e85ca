import BackupFormats
import Platform

/// Mounts file servers by the system's helpers, `mount` and `umount`.
package struct Mounter: Sendable {
    /// For one call of a helper. Servers that do not answer keep them for minutes.
    private static let seconds = 120

    /// Runs one of the system's helpers and returns its exit status and output.
    package typealias Helper =
        @Sendable (_ program: String, _ arguments: [String], _ secrets: [String: String]) async throws -> (
            status: Int32, output: String
        )

    private let folder: String
    private let helper: Helper
    private let isMountPoint: @Sendable (String) throws -> Bool

    /// - Parameters:
    ///   - folder: Holds the folders that are mounted on.
    ///   - isMountPoint: Whether something is mounted there.
    package init(
        folder: String, helper: @escaping Helper = Mounter.system,
        isMountPoint: @escaping @Sendable (String) throws -> Bool = Mounter.isMountPoint
    ) {
        self.folder = folder
        self.helper = helper
        self.isMountPoint = isMountPoint
    }

    /// Mounts; what is mounted there already, as after a crash, is accepted.
    ///
    /// - Parameter name: What the remote is called in messages.
    /// - Returns: The folder that it is mounted on.
    package func mount(_ command: MountCommand, name: String) async throws -> String {
        let target = "\(folder)/\(command.id)"
        try makeFolder(target, name)
        if try isMountPoint(target) { return target }
        let (status, output) = try await helper("mount", command.arguments(target: target), command.secrets)
        guard try isMountPoint(target) else {
            let text = output.trimmingLines
            let reason = status == 0 ? "nothing is mounted afterwards" : "mount ended with status \(status)"
            throw BackupFailure(
                .unavailable, "The remote \(name) cannot be mounted: \(text.isEmpty ? reason : text)",
                hints: Self.hints(command, status))
        }
        return target
    }

    /// Unmounts. A mount that somebody else still uses stays; the next opening accepts it.
    package func unmount(_ command: MountCommand) async {
        let target = "\(folder)/\(command.id)"
        guard (try? isMountPoint(target)) == true else {
            _ = try? FileSystem.removeFolder(target)
            return
        }
        guard let result = try? await helper("umount", ["--", target], [:]), result.status == 0 else { return }
        _ = try? FileSystem.removeFolder(target)
    }

    private func makeFolder(_ target: String, _ name: String) throws {
        do throws(SystemError) {
            try FileSystem.makeFolders(folder, mode: 0o700)
            // What is mounted may be out of reach, but is there.
            do throws(SystemError) {
                try FileSystem.makeFolder(target, mode: 0o700)
            } catch {
                if !error.isUnreachable { throw error }
            }
        } catch {
            throw error.failure(of: name, "the folder to mount on cannot be made")
        }
    }

    private static func hints(_ command: MountCommand, _ status: Int32) -> [String] {
        let package = command.kind == "nfs" ? "nfs-common" : "cifs-utils"
        return [
            "Mounting \(command.kind) needs the helper of the package \(package), and the rights of root.",
            "Check the server, the export and the options of the remote.",
        ]
    }

    /// The helper of this machine.
    package static let system: Helper = { program, arguments, secrets in
        let workers = WorkerPool(name: program, width: 1)
        defer { workers.close() }
        return try await workers.run {
            var environment = secrets
            environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            environment["LC_ALL"] = "C"
            do throws(SystemError) {
                let outcome = try Subprocess.run(program, arguments, environment: environment, seconds: seconds)
                let text =
                    outcome.isTimedOut
                    ? "\(program) did not end within \(seconds) s. \(outcome.output)" : outcome.output
                return (outcome.status, text)
            } catch {
                throw BackupFailure(.unavailable, "The program \(program) cannot be started", cause: error)
            }
        }
    }

    /// Asks the kernel's list of mounts, so that a server which does not answer is not asked.
    package static let isMountPoint: @Sendable (String) throws -> Bool = { path in
        do throws(SystemError) {
            let list = try FileSystem.read("/proc/self/mounts", limit: 8 << 20)
            let wanted = Array(path.replacing("\\", with: "\\134").replacing(" ", with: "\\040").utf8)
            return list.split(separator: UInt8(ascii: "\n")).contains { line in
                let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
                return fields.count > 1 && fields[1].elementsEqual(wanted)
            }
        } catch {
            throw error.failure("The list of mounts cannot be read")
        }
    }
}

extension String {
    /// In one line, for messages.
    fileprivate var trimmingLines: String {
        split { $0.isNewline }.joined(separator: "; ").prefix(1000).description
    }
}

import BackupFormats
import Platform

/// Proof that no other server works with a state folder.
package final class StateFolderLock: Sendable {
    private let lock: FileLock

    init(lock: FileLock) { self.lock = lock }

    package func release() { lock.release() }
}

/// The folder that holds the server's state: the database, keys, task logs. Only its owner may enter it (mode 0700).
package struct StateFolder: Sendable {
    /// Longest key, secret or other small file that is read from the folder.
    package static let smallFileLimit = 64 << 10

    /// Absolute path without a slash at the end.
    package let path: String

    /// Makes the folder where it is missing, and takes away what others might do in it.
    package init(path: String) throws {
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        do {
            try FileSystem.makeFolders(self.path, mode: 0o700)
            try FileSystem.setMode(self.path, 0o700)
        } catch {
            throw error.failure("The state folder \(self.path) cannot be used")
        }
    }

    package func path(of name: String) -> String { "\(path)/\(name)" }

    /// - Returns: nil where there is no such file.
    package func read(_ name: String, limit: Int = smallFileLimit) throws -> [UInt8]? {
        do {
            return try FileSystem.read(path(of: name), limit: limit)
        } catch {
            if error.isMissing { return nil }
            throw error.failure("\(name) in the state folder cannot be read")
        }
    }

    /// Replaces the file in one step; it has mode 0600 from its first moment and is on the disk on return.
    package func replace(_ name: String, with bytes: [UInt8], mode: UInt32 = 0o600) throws {
        do {
            try AtomicFile.replace(path(of: name), with: bytes, mode: mode, isSynced: true)
        } catch let error as SystemError {
            throw error.failure("\(name) in the state folder cannot be written")
        }
    }

    /// Makes an empty file of mode 0600 where there is none, and corrects the mode where there is one.
    func make(_ name: String) throws {
        do {
            try OpenFile(path(of: name), .make(mode: 0o600)).setMode(0o600)
        } catch {
            throw error.failure("\(name) in the state folder cannot be made")
        }
    }

    /// Keeps other servers out of the folder as long as the value lives.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` where one works with it.
    package func lock() throws -> StateFolderLock {
        do {
            let file = try OpenFile(path(of: Self.lockFile), .make(mode: 0o600))
            return StateFolderLock(lock: try FileLock(file, .exclusive, owner: .openFile))
        } catch {
            guard error.isLocked else { throw error.failure("The state folder \(path) cannot be locked") }
            throw BackupFailure(
                .conflict, "Another server works with the state folder \(path)",
                hints: ["Stop it first, or give each server a state folder of its own."])
        }
    }

    private static let lockFile = "server.lock"

    /// Removes the file; none is fine.
    package func remove(_ name: String) throws {
        do { try FileSystem.removeFile(path(of: name)) } catch {
            throw error.failure("\(name) in the state folder cannot be removed")
        }
    }
}

import BackupFormats
import GRDB
import Synchronization

/// The server's own state: users, tokens, access entries, configuration, list of tasks; one SQLite file.
///
/// Reads run beside each other and beside the one writer. Each write is one transaction: it happens as a whole or not
/// at all. The blocking forms belong on worker threads; the asynchronous ones do not hold a thread while they wait.
package final class StateDatabase: Sendable {
    package static let fileName = "state.sqlite"

    package let folder: StateFolder
    private let pool: DatabasePool
    private let isClosed = Atomic(false)

    /// Opens the database in `folder`, makes it where there is none, and brings an older one up to date.
    ///
    /// The whole file is checked: damage is told at the start, before anything is decided by what is left.
    ///
    /// - Throws: ``BackupFailure`` of kind `unsupported` where a newer version of Cairn has written the file, of kind
    ///   `corruptData` where it is damaged, of kind `internalFault` where it cannot be opened.
    package init(folder: StateFolder) throws {
        self.folder = folder
        let path = folder.path(of: Self.fileName)
        // The file is made before SQLite opens it, so that it never exists with a wider mode.
        try folder.make(Self.fileName)
        var configuration = Configuration()
        configuration.maximumReaderCount = 4
        configuration.busyMode = .timeout(10)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        pool = try Self.translating("cannot be opened", path) {
            try DatabasePool(path: path, configuration: configuration)
        }
        try Self.translating("cannot be brought up to date", path) {
            let verdict = try pool.read { try String.fetchOne($0, sql: "PRAGMA quick_check(1)") }
            guard verdict == "ok" else {
                throw Self.damaged(path, cause: verdict.map { BackupFailure(.corruptData, $0) })
            }
            let migrator = Schema.migrator
            guard try !pool.read({ try migrator.hasBeenSuperseded($0) }) else {
                throw BackupFailure(
                    .unsupported, "The state database \(path) was written by a newer version of Cairn",
                    hints: ["Run that version, or import an exported state into a new state folder."])
            }
            try migrator.migrate(pool)
        }
    }

    /// Reads one consistent state.
    package func read<Value>(_ body: (StateReader) throws -> Value) throws -> Value {
        try Self.translating("cannot be read", folder.path(of: Self.fileName)) {
            try pool.read { try body(StateReader($0)) }
        }
    }

    /// Runs one transaction. When this returns, it survives a crash.
    package func write<Value>(_ body: (StateWriter) throws -> Value) throws -> Value {
        try Self.translating("cannot be written", folder.path(of: Self.fileName)) {
            try pool.write { try body(StateWriter($0)) }
        }
    }

    /// Reads one consistent state without holding a thread meanwhile.
    package func read<Value: Sendable>(_ body: @escaping @Sendable (StateReader) throws -> Value) async throws -> Value
    {
        do { return try await pool.read { try body(StateReader($0)) } } catch {
            throw Self.translated(error, "cannot be read", folder.path(of: Self.fileName))
        }
    }

    /// Runs one transaction without holding a thread meanwhile.
    package func write<Value: Sendable>(
        _ body: @escaping @Sendable (StateWriter) throws -> Value
    ) async throws -> Value {
        do { return try await pool.write { try body(StateWriter($0)) } } catch {
            throw Self.translated(error, "cannot be written", folder.path(of: Self.fileName))
        }
    }

    /// Closes the file, with everything in it and nothing left in the log beside it; every later call fails.
    package func close() {
        guard !isClosed.exchange(true, ordering: .relaxed) else { return }
        // Where these two fail, the next opening does the same work.
        _ = try? pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        try? pool.close()
    }

    private static func translating<Value>(_ what: String, _ path: String, _ body: () throws -> Value) throws -> Value {
        do { return try body() } catch { throw translated(error, what, path) }
    }

    private static func translated(_ error: any Error, _ what: String, _ path: String) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        let kind: BackupFailure.Kind
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return damaged(path, cause: error)
        case .SQLITE_FULL: kind = .storageFull
        case .SQLITE_BUSY, .SQLITE_LOCKED: kind = .unavailable
        default: kind = .internalFault
        }
        return BackupFailure(kind, "The state database \(what)", cause: error)
    }

    private static func damaged(_ path: String, cause: (any Error)?) -> BackupFailure {
        BackupFailure(
            .corruptData, "The state database \(path) is damaged",
            hints: [
                "Move it away with the files beside it that end in -wal and -shm, then bring an exported state back: "
                    + "`cairn state import FILE --state \(path.dropLast(fileName.utf8.count + 1))`.",
                "Without an export start with an empty state and add each datastore by "
                    + "`cairn datastore create NAME PATH --reuse`: no backup is lost.",
            ],
            cause: cause)
    }
}

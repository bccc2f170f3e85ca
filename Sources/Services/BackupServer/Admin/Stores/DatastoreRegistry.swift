package import AccessControl
package import BackupFormats
package import Datastore
package import Logging
import Platform
package import StateDatabase
import Synchronization

/// The datastores of this server: their configuration, and those that are open. All calls block.
package final class DatastoreRegistry: Sendable {
    /// What a datastore is wanted for.
    package enum Operation: Sendable {
        case read, write
    }

    private struct State {
        var records: [DatastoreRecord] = []
        var open: [String: Datastore] = [:]
        /// Why a store is not open, since it was last tried.
        var failures: [String: BackupFailure] = [:]
        /// Being made, closed or removed.
        var busy: Set<String> = []
        /// What long work is under way, by store.
        var uses: [String: [ObjectIdentifier: DatastoreUse.Note]] = [:]
    }

    private let database: StateDatabase
    private let options: StoreOptions
    private let roots: [String]
    private let logger: Logger
    private let state = Mutex(State())
    /// Held while one store is opened or closed, so that nobody opens it twice.
    private let opening = Monitor(())

    /// - Parameters:
    ///   - options: For all stores; their own settings come on top.
    ///   - roots: Folders below which callers of the API may make datastores.
    package init(database: StateDatabase, options: StoreOptions = StoreOptions(), roots: [String], logger: Logger)
        throws
    {
        self.database = database
        self.options = options
        self.roots = roots
        self.logger = logger
        let records = try database.read { try $0.datastores() }
        state.withLock { $0.records = records }
    }

    /// The configured datastores in order of creation.
    package var records: [DatastoreRecord] { state.withLock { $0.records } }

    /// - Throws: ``BackupFailure`` of kind `noSuchObject`.
    package func record(_ name: String) throws -> DatastoreRecord {
        guard let record = state.withLock({ $0.records.first { $0.name == name } }) else {
            throw BackupFailure(.noSuchObject, "no such datastore '\(name)'")
        }
        return record
    }

    /// The digest of the configuration, for optimistic locking.
    package func digest() throws -> String { try database.read { try $0.digest(of: .datastore) } }

    /// An open datastore. One that could not be opened before is tried again.
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject` where none has that name, `conflict` in a maintenance mode or for
    ///   writing where the store could only be opened for reading, else what opening throws.
    package func datastore(_ name: String, for operation: Operation) throws -> Datastore {
        let record = try record(name)
        if let objection = try record.maintenanceMode()?.objection(to: operation, of: name) { throw objection }
        let store = try open(record)
        if operation == .write, store.isReadOnly {
            throw BackupFailure(
                .conflict, "datastore '\(name)' can only be read: \(store.readOnlyReason ?? "it was opened so")")
        }
        return store
    }

    private func open(_ record: DatastoreRecord) throws -> Datastore {
        if let store = state.withLock({ $0.open[record.name] }) { return store }
        return try opening.withLock { _ in
            if let store = state.withLock({ $0.open[record.name] }) { return store }
            guard !state.withLock({ $0.busy.contains(record.name) }) else {
                throw BackupFailure(.conflict, "datastore '\(record.name)' is being made, closed or removed")
            }
            do {
                let store = try Datastore.open(name: record.name, at: record.path, options: try options(for: record))
                for task in store.interruptedTasks {
                    logger.notice(
                        "what an interrupted session had written was removed",
                        metadata: ["datastore": "\(record.name)", "task": "\(task)"])
                }
                state.withLock {
                    $0.open[record.name] = store
                    $0.failures[record.name] = nil
                }
                return store
            } catch {
                let failure =
                    error as? BackupFailure
                    ?? BackupFailure(
                        .internalFault, "datastore '\(record.name)' cannot be opened", cause: error)
                state.withLock { $0.failures[record.name] = failure }
                throw failure
            }
        }
    }

    private func options(for record: DatastoreRecord) throws -> StoreOptions {
        var options = options
        if let level = try record.syncLevel() { options.syncLevel = level }
        return options
    }

    /// Opens all stores that are not offline; those that fail are logged and tried again when they are asked for.
    package func openAll() {
        for record in records {
            do {
                _ = try datastore(record.name, for: .read)
            } catch {
                logger.error("datastore not opened", metadata: ["datastore": "\(record.name)", "reason": "\(error)"])
            }
        }
    }

    /// Closes all stores; for the end of the server.
    package func closeAll() {
        for name in state.withLock({ Array($0.open.keys) }) {
            do {
                try close(name)
                release(name)
            } catch {
                logger.error("datastore not closed", metadata: ["datastore": "\(name)", "reason": "\(error)"])
            }
        }
    }

    /// Closes a store, and keeps it closed until `release`.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while a session, a reader or a task works on it.
    private func close(_ name: String) throws {
        try opening.withLock { _ in
            let store = try state.withLock { state throws(BackupFailure) in
                if let note = state.uses[name]?.values.first {
                    throw BackupFailure(.conflict, "datastore '\(name)' is in use by \(note.user)")
                }
                if state.busy.contains(name) {
                    throw BackupFailure(.conflict, "datastore '\(name)' is being made, closed or removed")
                }
                state.busy.insert(name)
                return state.open.removeValue(forKey: name)
            }
            do {
                try store?.close()
            } catch {
                state.withLock { state in
                    state.open[name] = store
                    state.busy.remove(name)
                }
                throw BackupFailure(.conflict, "datastore '\(name)' is in use: \(error)")
            }
        }
    }
}

// Long work.
extension DatastoreRegistry {
    func note(_ use: DatastoreUse, _ note: DatastoreUse.Note, of name: String) throws {
        try state.withLock { state throws(BackupFailure) in
            guard state.open[name] === use.store else {
                throw BackupFailure(.conflict, "datastore '\(name)' is being made, closed or removed")
            }
            state.uses[name, default: [:]][ObjectIdentifier(use)] = note
        }
    }

    func forget(_ use: DatastoreUse, of name: String) {
        state.withLock { state in
            state.uses[name]?[ObjectIdentifier(use)] = nil
            if state.uses[name]?.isEmpty == true { state.uses[name] = nil }
        }
    }

    /// How many pieces of work read from a datastore, and how many write to it: sessions, readers and tasks.
    package func activeOperations(of name: String) -> (reading: Int, writing: Int) {
        let (notes, store) = state.withLock { (Array(($0.uses[name] ?? [:]).values), $0.open[name]) }
        let writing = notes.count { $0.operation == .write }
        return (
            notes.count - writing + (store?.sessions.readerCount ?? 0), writing + (store?.sessions.activeCount ?? 0)
        )
    }
}

// What changes the configuration.
extension DatastoreRegistry {
    /// Checks that a datastore can be made so, and reserves its name until `create` or `release`.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` where the name or the folder is taken, `invalidInput` for settings or
    ///   folders that are not possible, `notAuthorized` without Datastore.Allocate.
    package func reserve(_ record: DatastoreRecord, by grant: Grant) throws {
        try grant.require(.datastoreAllocate)
        try record.check()
        try checkFolder(record.path, isOwner: grant.identity.proof == .local || grant.identity.proof == .inProcess)
        try state.withLock { state in
            guard !state.records.contains(where: { $0.name == record.name }), !state.busy.contains(record.name) else {
                throw BackupFailure(.conflict, "datastore '\(record.name)' already exists.")
            }
            for other in state.records {
                if other.path == record.path {
                    throw BackupFailure(.conflict, "the folder '\(record.path)' belongs to datastore '\(other.name)'")
                }
                let (mine, theirs) = ("\(record.path)/", "\(other.path)/")
                if mine.hasPrefix(theirs) || theirs.hasPrefix(mine) {
                    throw BackupFailure(
                        .conflict,
                        "the folder '\(record.path)' and that of datastore '\(other.name)' would lie inside each other")
                }
            }
            state.busy.insert(record.name)
        }
    }

    /// Makes a reserved datastore, or takes over the one in its folder, and puts it into the configuration.
    package func create(_ record: DatastoreRecord, reusing: Bool, by grant: Grant) throws {
        try grant.require(.datastoreAllocate)
        defer { release(record.name) }
        let options = try options(for: record)
        if reusing {
            try Datastore.open(name: record.name, at: record.path, options: options).close()
        } else {
            try Datastore.create(name: record.name, at: record.path, options: options)
        }
        try change { try $0.put(record) }
    }

    /// Gives a reserved name free.
    package func release(_ name: String) { state.withLock { _ = $0.busy.remove(name) } }

    /// Changes settings.
    ///
    /// - Parameters:
    ///   - settings: New values by name.
    ///   - removed: Names of settings that go.
    ///   - digest: The digest that the caller saw, if it cares.
    package func update(
        _ name: String, settings: JSONObject, removed: [String], digest: String?, by grant: Grant
    ) throws {
        try grant.require(.datastoreModify)
        let old = try record(name)
        var new = old
        for key in removed { new.properties[key] = nil }
        for member in settings.members { new.properties[member.name] = member.value }
        try new.check()
        // Settings of the open store come into force when it is opened again. Nobody opens it before they are stored.
        let mustClose = try new.maintenanceMode()?.kind == .offline || old.syncLevel() != new.syncLevel()
        if mustClose { try close(name) }
        defer { if mustClose { release(name) } }
        try change { [new] writer in
            try writer.requireDigest(digest, of: .datastore)
            try writer.put(new)
        }
    }

    /// Closes a datastore and takes it out of the configuration, with its jobs where they are not to be kept; its folder
    /// stays, or goes with its content.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` while it is in use.
    package func remove(
        _ name: String, destroyingData: Bool, keepingJobs: Bool = false, digest: String?, by grant: Grant
    ) throws {
        try grant.require(.datastoreAllocate)
        let record = try record(name)
        try close(name)
        defer { release(name) }
        try change { writer in
            try writer.requireDigest(digest, of: .datastore)
            try writer.removeDatastore(name)
            if !keepingJobs { try writer.removeJobs(of: name) }
            try writer.removeSamples(of: MetricHistory.store(name, ""))
        }
        if destroyingData { try DatastoreFolder(record.path).destroy() }
    }

    private func change(_ body: (StateWriter) throws -> Void) throws {
        let records = try database.write { writer in
            try body(writer)
            return try writer.datastores()
        }
        state.withLock { $0.records = records }
    }

    private func checkFolder(_ path: String, isOwner: Bool) throws {
        let folder = DatastoreFolder(path)
        guard folder.isPlain else {
            throw BackupFailure(.invalidInput, "'\(path)' is no absolute path without '.' and '..'")
        }
        guard try isOwner || roots.contains(where: { try folder.lies(below: $0) }) else {
            throw BackupFailure(
                .invalidInput, "'\(path)' does not lie below a folder that is meant for datastores",
                hints: ["The owner of the server can make it there by 'cairn datastore create'."])
        }
    }
}

extension Grant {
    /// - Throws: ``BackupFailure`` of kind `notAuthorized` where the grant was given for something else.
    func require(_ privileges: Privileges) throws {
        guard self.privileges.isSuperset(of: privileges) else {
            throw BackupFailure(
                .notAuthorized, "missing permissions '\(privileges.names.joined(separator: "&"))' on '\(path)'")
        }
    }
}

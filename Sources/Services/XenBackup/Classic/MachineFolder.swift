import BackupFormats
import Logging

/// The folder of one machine: its metadata files and the cache over them. (Spec: xo-proxy §4.5–§4.7.)
struct MachineFolder: Sendable {
    /// Metadata files that are read at once.
    private static let readWidth = 8

    let files: any RemoteFiles
    let vm: String
    let logger: Logger

    var path: String { "\(ClassicPath.machines)/\(vm)" }

    func path(_ name: String) -> String { "\(path)/\(name)" }
    func id(_ name: String) -> String { "/\(path)/\(name)" }

    /// Names in the folder; none where it is missing.
    func names() async throws -> [String] {
        do {
            return try await files.list(path)
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return []
        }
    }

    /// - Throws: ``BackupFailure`` of kind `notFound`, `corruptData` where it cannot be understood, or what reading says.
    func metadata(_ name: String) async throws -> VMBackupMetadata {
        let bytes: [UInt8]
        do {
            bytes = try await files.read(path(name), limit: VMBackupMetadata.maxFileBytes)
        } catch let failure as BackupFailure where failure.kind == .notFound {
            throw BackupFailure(.notFound, "There is no backup \(id(name))", cause: failure)
        }
        do {
            return try VMBackupMetadata(parsing: bytes)
        } catch {
            throw BackupFailure(.corruptData, "The metadata of the backup \(id(name)) is damaged", cause: error)
        }
    }

    func write(_ metadata: VMBackupMetadata, _ name: String, _ mode: WriteMode) async throws {
        try await files.write(path(name), Array(JSONValue.object(metadata.json).compactText.utf8), mode)
    }

    /// All metadata that can be understood, by name; the names of the others.
    ///
    /// - Throws: Where one cannot be read although it is there.
    func allMetadata(_ names: [String]) async throws -> (read: [String: VMBackupMetadata], damaged: [String]) {
        let items = try await parallelMap(names, width: Self.readWidth) { name -> (String, VMBackupMetadata?, Bool) in
            do {
                return (name, try await metadata(name), false)
            } catch let failure as BackupFailure where failure.kind == .corruptData {
                logger.warning("\(failure)")
                return (name, nil, true)
            } catch let failure as BackupFailure where failure.kind == .notFound {
                return (name, nil, false)
            }
        }
        var read: [String: VMBackupMetadata] = [:]
        for (name, metadata, _) in items { read[name] = metadata }
        return (read, items.filter { $0.2 }.map { $0.0 })
    }

    /// The machine's backups, ascending by time; from the cache where it fits the files.
    ///
    /// - Parameter isProtected: Whether a tool makes files immutable here; then each file is asked, and no cache used.
    func backups(isProtected: Bool) async throws -> [VMBackup] {
        let names = try await names().filter(ClassicPath.isMetadata)
        guard !names.isEmpty else { return [] }
        let usesCache = !isProtected && !files.capabilities.isImmutable
        let cache = ClassicCache(folder: self)
        var metadata: [String: VMBackupMetadata]
        if usesCache, let cached = await cache.read(), Set(cached.keys) == Set(names) {
            metadata = cached
        } else {
            let (read, damaged) = try await allMetadata(names)
            metadata = read
            if usesCache, damaged.isEmpty { await cache.write(read) }
        }
        var backups: [VMBackup] = []
        for (name, metadata) in metadata {
            let isImmutable = isProtected ? await isUnwritable(name) : files.capabilities.isImmutable
            backups.append(VMBackup(id: id(name), metadata: metadata, isImmutable: isImmutable))
        }
        return backups.sorted { ($0.metadata.timestamp, $0.id) < ($1.metadata.timestamp, $1.id) }
    }

    private func isUnwritable(_ name: String) async -> Bool {
        guard let file = try? await files.open(path(name), .update) else { return true }
        await file.close()
        return false
    }
}

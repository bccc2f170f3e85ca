package import BackupFormats
import Logging

/// Backups of the configuration of Xen Orchestra and of pools' databases. (Spec: xo-proxy §4.8.)
extension ClassicRepository {
    private static let metadataName = "metadata.json"
    private static let maxMetadataBytes = 16 << 20
    private static let readWidth = 8

    package func metadataBackups(_ kind: MetadataKind) async throws -> [JSONObject] {
        var folders = [kind.rawValue]
        // Schedules, of pools then the pool, then the date.
        for _ in 0..<(kind == .pool ? 3 : 2) {
            folders = try await parallelMap(folders, width: Self.readWidth) { folder in
                do {
                    return try await self.files.list(folder).filter { ClassicPath.isName($0) }.map { "\(folder)/\($0)" }
                } catch let failure as BackupFailure where failure.kind == .notFound {
                    return []
                } catch {
                    if (try? await self.files.size(of: folder)) != nil { return [] }
                    throw error
                }
            }.flatMap { $0 }
        }
        let entries = try await parallelMap(folders, width: Self.readWidth) { folder -> JSONObject? in
            do {
                var entry = try await self.metadata(of: folder)
                entry["id"] = .string("/\(folder)")
                return entry
            } catch {
                self.logger.warning("The metadata backup \(folder) is left out: \(error)")
                return nil
            }
        }
        return entries.compactMap { $0 }.sorted {
            ($0["timestamp"]?.intValue ?? 0, $0["id"]?.stringValue ?? "")
                < ($1["timestamp"]?.intValue ?? 0, $1["id"]?.stringValue ?? "")
        }
    }

    private func metadata(of folder: String) async throws -> JSONObject {
        let bytes = try await files.read("\(folder)/\(Self.metadataName)", limit: Self.maxMetadataBytes)
        guard let object = try? JSONValue(parsing: bytes).objectValue else {
            throw BackupFailure(.corruptData, "The metadata of the backup /\(folder) is damaged")
        }
        return object
    }

    package func writeMetadataBackup(_ backup: MetadataBackup) async throws {
        try ClassicPath.requireName(backup.scheduleID, of: "schedule")
        var series = "\(backup.kind.rawValue)/\(backup.scheduleID)"
        if backup.kind == .pool {
            let pool = backup.poolUUID ?? ""
            try ClassicPath.requireName(pool, of: "pool")
            series += "/\(pool)"
        }
        let folder = "\(series)/\(BackupDate.text(backup.timestamp))"
        var metadata = backup.metadata
        if backup.kind == .orchestra, metadata["data"] == nil { metadata["data"] = .string("./\(backup.dataName)") }
        guard (try? await files.size(of: "\(folder)/\(Self.metadataName)")) == nil else {
            throw BackupFailure(.conflict, "There is already a backup /\(folder)")
        }
        do {
            _ = try await files.write("\(folder)/\(backup.dataName)", from: backup.data, maxByteCount: nil, .replace)
            let text = JSONValue.object(metadata).prettyText
            try await files.write("\(folder)/\(Self.metadataName)", Array(text.utf8), .new)
        } catch {
            try? await files.removeTree(folder)
            throw error
        }
        let dates = try await files.list(series).filter { BackupDate.parse($0) != nil }.sorted()
        for date in dates.dropLast(max(1, backup.retention)) { try await removeMetadataBackup("\(series)/\(date)") }
    }

    package func readMetadataBackup(
        _ id: String
    ) async throws -> (metadata: JSONObject, dataName: String, data: any ByteSource) {
        let (folder, kind) = try Self.place(of: id)
        let metadata: JSONObject
        do {
            metadata = try await self.metadata(of: folder)
        } catch let failure as BackupFailure where failure.kind == .notFound {
            throw BackupFailure(.notFound, "There is no backup /\(folder)", cause: failure)
        }
        let relative = metadata["data"]?.stringValue ?? (kind == .orchestra ? "./data.json" : "./data")
        guard let path = ClassicPath.resolve(relative, in: folder, within: folder) else {
            throw BackupFailure(.corruptData, "The metadata of the backup /\(folder) names data outside of it")
        }
        return (metadata, ClassicPath.name(of: path), try await files.stream(path))
    }

    package func deleteMetadataBackup(_ id: String) async throws {
        try await removeMetadataBackup(try Self.place(of: id).folder)
    }

    /// Its metadata first: what is removed by half is not listed.
    private func removeMetadataBackup(_ folder: String) async throws {
        try await files.remove("\(folder)/\(Self.metadataName)")
        try await files.removeTree(folder)
    }

    /// `xo-(config|pool-metadata)-backups/<schedule>[/<pool>]/<date>`. (Spec: §2.5.)
    private static func place(of id: String) throws -> (folder: String, kind: MetadataKind) {
        let parts = id.split(separator: "/")
        guard let kind = parts.first.flatMap({ MetadataKind(rawValue: String($0)) }), (3...4).contains(parts.count),
            parts[1..<(parts.count - 1)].allSatisfy(isUUID), let date = parts.last, BackupDate.parse(date) != nil
        else { throw BackupFailure(.invalidInput, "'\(id)' is not the id of a metadata backup") }
        return (parts.joined(separator: "/"), kind)
    }

    private static func isUUID(_ text: Substring) -> Bool {
        let groups = text.split(separator: "-", omittingEmptySubsequences: false)
        return groups.map(\.utf8.count) == [8, 4, 4, 4, 12]
            && groups.allSatisfy {
                $0.utf8.allSatisfy {
                    $0 == UInt8(ascii: "_") || Character(.init($0)).isLetter || Character(.init($0)).isNumber
                }
            }
    }
}

import BackupFormats
import BlobCoding
import Logging

/// `cache.json.gz`: the content of all metadata files of a machine in one, so that a listing need not open each. Losing it
/// is never an error, and one that does not name exactly the files that are there is not believed. (Spec: xo-proxy §4.7.)
struct ClassicCache: Sendable {
    private static let maxFileBytes = 64 << 20
    private static let maxContentBytes = 256 << 20

    let folder: MachineFolder

    private var path: String { folder.path(ClassicPath.cache) }

    /// By name of the file; nil where there is none that can be read.
    func read() async -> [String: VMBackupMetadata]? {
        guard let file = try? await folder.files.read(path, limit: Self.maxFileBytes),
            let text = try? Gzip.decompress(file, limit: Self.maxContentBytes),
            let entries = try? JSONValue(parsing: text).objectValue
        else { return nil }
        var result: [String: VMBackupMetadata] = [:]
        for entry in entries.members {
            guard var json = entry.value.objectValue, entry.name.hasPrefix("/\(folder.path)/") else { return nil }
            for name in ["_filename", "id", "isImmutable"] { json[name] = nil }
            result[ClassicPath.name(of: entry.name)] = VMBackupMetadata(json)
        }
        return result
    }

    /// Writes it anew; on failure there is none, or the old one.
    func write(_ metadata: [String: VMBackupMetadata]) async {
        var members: [JSONObject.Member] = []
        for (name, metadata) in metadata.sorted(by: { $0.key < $1.key }) {
            let id = folder.id(name)
            var json = metadata.json
            json["_filename"] = .string(id)
            json["id"] = .string(id)
            members.append(.init(name: id, value: .object(json)))
        }
        guard let file = Gzip.compress(Array(JSONValue.object(JSONObject(members)).compactText.utf8)) else { return }
        do {
            try await folder.files.write(path, file, .replace)
        } catch {
            folder.logger.debug("The cache of \(folder.path) was not written: \(error)")
        }
    }

    /// Changes a file that the cache may know: without a cache meanwhile, so that none tells the old content.
    func replace(_ name: String, _ metadata: VMBackupMetadata) async throws {
        var entries = await read()
        try await folder.files.remove(path)
        try await folder.write(metadata, name, .replace)
        entries?[name] = metadata
        if let entries { await write(entries) }
    }

    /// Enters or removes single files, where there is a cache that fits the rest.
    ///
    /// - Parameter changes: By name; nil: removed. The files are changed already.
    func update(_ changes: [String: VMBackupMetadata?]) async {
        guard !folder.files.capabilities.isImmutable, var entries = await read() else { return }
        for (name, metadata) in changes { entries[name] = metadata }
        await write(entries)
    }
}

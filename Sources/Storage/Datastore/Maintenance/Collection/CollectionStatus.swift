package import BackupFormats
import Platform

/// The figures of one garbage collection, as `.gc-status` keeps them. (Spec: formats §9.9.)
package struct CollectionStatus: Hashable, Sendable {
    /// Bytes of the file that are read.
    private static let limit = 64 << 10
    /// The members that are numbers, in the order of the file.
    private static let figures: [(name: String, path: any WritableKeyPath<CollectionStatus, Int64> & Sendable)] = [
        ("index-file-count", \.indexFileCount), ("index-data-bytes", \.indexDataByteCount),
        ("disk-bytes", \.diskByteCount), ("disk-chunks", \.diskChunkCount), ("removed-bytes", \.removedByteCount),
        ("removed-chunks", \.removedChunkCount), ("pending-bytes", \.pendingByteCount),
        ("pending-chunks", \.pendingChunkCount), ("removed-bad", \.removedBadCount), ("still-bad", \.stillBadCount),
    ]

    /// The UPID of the task; nil where garbage was never collected.
    package var task: String?
    package var indexFileCount: Int64 = 0
    /// Logical bytes of all indexes.
    package var indexDataByteCount: Int64 = 0
    /// Bytes and number of the chunks that stay.
    package var diskByteCount: Int64 = 0
    package var diskChunkCount: Int64 = 0
    package var removedByteCount: Int64 = 0
    package var removedChunkCount: Int64 = 0
    /// Unreferenced chunks that are to go later. We remove all at once; a PBS keeps those touched of late.
    package var pendingByteCount: Int64 = 0
    package var pendingChunkCount: Int64 = 0
    /// Chunks set aside as corrupt: those removed, and those kept because the chunk is referenced and was not healed.
    package var removedBadCount: Int64 = 0
    package var stillBadCount: Int64 = 0

    package init() {}

    /// Reads what is understood; missing figures are 0.
    package init?(_ json: JSONValue?) {
        guard let object = json?.objectValue else { return nil }
        task = object["upid"]?.stringValue
        for (name, path) in Self.figures { self[keyPath: path] = object[name]?.intValue ?? 0 }
    }

    /// As the file has it.
    package var json: JSONObject {
        var object: JSONObject = ["upid": task.map { .string($0) } ?? .null]
        for (name, path) in Self.figures { object[name] = .integer(self[keyPath: path]) }
        return object
    }
}

extension CollectionStatus {
    static func read(_ layout: StoreLayout) throws -> CollectionStatus? {
        guard let bytes = try FileSystem.readIfPresent(layout.collectionStatus, limit: limit) else { return nil }
        return CollectionStatus(try? JSONValue(parsing: bytes))
    }
}

extension Datastore {
    /// The figures of the last garbage collection, this server's or another's; nil where there was none.
    package func lastCollection() throws -> CollectionStatus? {
        if let last = collections.last { return last }
        return try storing("The figures of the last garbage collection of \(name) cannot be read") {
            try CollectionStatus.read(layout)
        }
    }
}

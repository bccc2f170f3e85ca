package import BackupFormats
import BlobCoding
import Platform

extension Manifest {
    /// Reads the whole `index.json.blob`, CRC checked.
    ///
    /// - Throws: ``FormatError``, also for an encrypted blob.
    package init(blob: [UInt8]) throws(FormatError) {
        try self.init(parsing: try BlobDecoder().decode(blob, limit: Self.maxByteCount))
    }

    /// The whole `index.json.blob`, as a server writes it: plain, compressed where that helps.
    package func blob() throws(FormatError) -> [UInt8] {
        try BlobEncoder().encode(encoded, compress: true)
    }
}

extension Datastore {
    /// The stored bytes of `index.json.blob`.
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject` where the snapshot does not exist or is not finished, `conflict`
    ///   where it is being written.
    package func manifestBytes(of snapshot: SnapshotName, in namespace: Namespace) throws -> [UInt8] {
        try sessions.requireNotRunning(snapshot, in: namespace)
        let label = text(snapshot, in: namespace)
        return try storing("The manifest of \(label) cannot be read") {
            let folder = layout.folder(of: snapshot, in: namespace)
            guard
                let bytes = try FileSystem.readIfPresent(
                    "\(folder)/\(ArchiveName.manifest)", limit: BlobLimits.encodedBlob.upperBound)
            else {
                guard try FileSystem.isFolder(folder) else { throw BackupFailure.missing(snapshot, in: namespace) }
                throw BackupFailure(.noSuchObject, "Snapshot \(label) is not finished: it has no manifest")
            }
            return bytes
        }
    }

    /// - Throws: As ``manifestBytes(of:in:)``, and `corruptData`.
    package func manifest(of snapshot: SnapshotName, in namespace: Namespace) throws -> Manifest {
        let bytes = try manifestBytes(of: snapshot, in: namespace)
        return try storing("The manifest of \(text(snapshot, in: namespace)) cannot be read") {
            try Manifest(blob: bytes)
        }
    }

    /// Changes what may change in a manifest, under its lock, and replaces it in one step. (Spec: formats §4.7.)
    ///
    /// - Parameter change: Must touch nothing but ``Manifest/unprotected`` and its named members.
    /// - Throws: As ``manifest(of:in:)``; `conflict` where somebody holds the lock for more than five seconds.
    package func updateManifest(
        of snapshot: SnapshotName, in namespace: Namespace, _ change: (inout Manifest) throws -> Void
    ) throws {
        try requireWritable()
        let lock = try sessions.lockManifest(of: snapshot, in: namespace)
        defer { lock.release() }
        let old = try manifest(of: snapshot, in: namespace)
        var new = old
        try change(&new)
        guard new != old else { return }
        precondition(new.differsOnlyInUnprotected(from: old), "only the unprotected part of a manifest may change")
        try storing("The manifest of \(text(snapshot, in: namespace)) cannot be written") {
            try options.beforeStep(.manifestRewrite)
            try AtomicFile.replace(
                "\(layout.folder(of: snapshot, in: namespace))/\(ArchiveName.manifest)", with: try new.blob(),
                mode: StoreLayout.fileMode, owner: owner.toGive, isSynced: options.syncLevel != .none)
        }
    }
}

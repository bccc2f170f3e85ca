package import BackupFormats
package import Datastore

/// A snapshot with what its manifest says about it.
package struct SnapshotDescription: Sendable {
    package let entry: SnapshotEntry
    /// Nil where there is none yet, or none that can be read.
    package let manifest: Manifest?
    /// Why a manifest that should be there cannot be read.
    package let fault: String?

    /// One file as listings show it.
    package struct File: Sendable, Hashable {
        package let name: ArchiveName
        /// Nil for files that no manifest lists.
        package let cryptMode: CryptMode?
        package let size: UInt64?
    }

    init(_ entry: SnapshotEntry, in store: Datastore) {
        self.entry = entry
        guard entry.isFinished else {
            manifest = nil
            fault = nil
            return
        }
        do {
            manifest = try store.manifest(of: entry.name, in: entry.namespace)
            fault = nil
        } catch {
            manifest = nil
            fault = "\(error)"
        }
    }

    /// Those of the manifest in its order, the manifest itself, then what else lies there.
    package var files: [File] {
        guard let manifest else {
            return entry.files.map { File(name: $0.name, cryptMode: nil, size: nil) }
        }
        var files = manifest.files.map { File(name: $0.name, cryptMode: $0.cryptMode, size: $0.size) }
        let listed = Set(files.map(\.name))
        for file in entry.files where file.name == .manifest {
            let mode: CryptMode = manifest.signature == nil ? .none : .signOnly
            files.append(File(name: .manifest, cryptMode: mode, size: UInt64(file.byteCount)))
        }
        files += entry.files.filter { $0.name != .manifest && !listed.contains($0.name) }
            .map { File(name: $0.name, cryptMode: nil, size: nil) }
        return files
    }

    /// Sum of the sizes that are known; nil for a snapshot without manifest.
    package var size: UInt64? {
        guard manifest != nil else { return nil }
        return files.reduce(0) { $0 &+ ($1.size ?? 0) }
    }

    package var notes: String? { manifest?.notes }
    /// Of the key that it was encrypted or signed with.
    package var fingerprint: String? { manifest?.keyFingerprint }
    /// What the last verification found.
    package var verification: Manifest.VerifyState? { manifest?.verifyState }
}

package import AccessControl
package import BackupFormats
import BlobCoding
package import Datastore

extension ContentService {
    /// The snapshots of one namespace that the caller may see.
    ///
    /// - Parameters:
    ///   - type: Only groups of that type.
    ///   - id: Only groups of that name.
    package func snapshots(
        in place: ContentPlace, type: BackupType? = nil, id: String? = nil, by grant: ContentGrant
    ) throws -> [SnapshotDescription] {
        let store = try store(place, .read, grant)
        let group = type.flatMap { type in id.flatMap { BackupGroup(type: type, id: $0) } }
        return try store.snapshots(in: place.namespace, group: group)
            .filter { entry in
                (type == nil || entry.name.group.type == type) && (id == nil || entry.name.group.id == id)
                    && Self.sees(entry.owner, grant)
            }
            .map { SnapshotDescription($0, in: store) }
    }

    package func snapshot(
        _ name: SnapshotName, in place: ContentPlace, by grant: ContentGrant
    ) throws -> SnapshotDescription {
        let store = try store(place, name.group, .read, grant)
        let found = SnapshotDescription(try store.snapshot(name, in: place.namespace), in: store)
        if let fault = found.fault {
            throw BackupFailure(.corruptData, "the manifest of \(name) in \(place) cannot be read: \(fault)")
        }
        return found
    }

    /// - Throws: ``BackupFailure`` of kind `conflict` for protected, running and used ones.
    package func removeSnapshot(_ name: SnapshotName, in place: ContentPlace, by grant: ContentGrant) throws {
        try store(place, name.group, .write, grant).removeSnapshot(name, in: place.namespace)
    }

    package func notes(of name: SnapshotName, in place: ContentPlace, by grant: ContentGrant) throws -> String {
        try store(place, name.group, .read, grant).notes(of: name, in: place.namespace)
    }

    package func setNotes(
        _ notes: String, of name: SnapshotName, in place: ContentPlace, by grant: ContentGrant
    ) throws {
        try store(place, name.group, .write, grant).setNotes(notes, of: name, in: place.namespace)
    }

    package func isProtected(_ name: SnapshotName, in place: ContentPlace, by grant: ContentGrant) throws -> Bool {
        try store(place, name.group, .read, grant).isProtected(name, in: place.namespace)
    }

    package func setProtected(
        _ isProtected: Bool, _ name: SnapshotName, in place: ContentPlace, by grant: ContentGrant
    ) throws {
        try store(place, name.group, .write, grant).setProtected(isProtected, name, in: place.namespace)
    }

    /// Adds the client's log, once.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict` where it has one, `invalidInput` for what is no blob.
    package func storeClientLog(
        _ blob: [UInt8], for name: SnapshotName, in place: ContentPlace, by grant: ContentGrant
    ) throws {
        do { _ = try BlobChecksum.verify(blob) } catch {
            throw BackupFailure(.invalidInput, "the log is no intact blob", cause: error)
        }
        try store(place, name.group, .write, grant).storeClientLog(blob, for: name, in: place.namespace)
    }

    /// Holds a snapshot for reading; the caller closes it.
    package func openReader(
        _ name: SnapshotName, in place: ContentPlace, purpose: String, by grant: ContentGrant
    ) throws -> (store: Datastore, reader: SnapshotReader) {
        let store = try store(place, name.group, .read, grant)
        return (store, try store.openReader(name, in: place.namespace, purpose: purpose))
    }
}

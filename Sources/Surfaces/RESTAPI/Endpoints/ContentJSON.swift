import BackupFormats
import BackupServer
import Datastore

/// The shapes of groups, snapshots and files in answers. (Spec: rest E.4.)
enum ContentJSON {
    static func group(_ entry: GroupEntry) -> JSONValue {
        let newest = entry.newestFinished ?? entry.snapshots.last
        var object: JSONObject = [
            "backup-type": .string(entry.group.type.rawValue), "backup-id": .string(entry.group.id),
            "last-backup": .integer(newest?.name.time ?? 0), "backup-count": .integer(entry.snapshots.count),
            "files": .array((newest?.files ?? []).map { .string($0.name.name) }),
        ]
        object["owner"] = entry.owner.map { .string("\($0)") }
        object["comment"] = firstLine(entry.notes)
        return .object(object)
    }

    static func snapshot(_ snapshot: SnapshotDescription) -> JSONValue {
        var object = name(snapshot.entry.name)
        object["comment"] = firstLine(snapshot.notes)
        object["verification"] = snapshot.verification.map {
            ["upid": .string($0.task), "state": .string($0.outcome.rawValue)]
        }
        object["fingerprint"] = snapshot.fingerprint.map { .string($0) }
        object["files"] = files(snapshot)
        object["size"] = snapshot.size.map { .integer($0) }
        object["owner"] = snapshot.entry.owner.map { .string("\($0)") }
        object["protected"] = .bool(snapshot.entry.isProtected)
        return .object(object)
    }

    static func files(_ snapshot: SnapshotDescription) -> JSONValue {
        .array(
            snapshot.files.map { file in
                var object: JSONObject = ["filename": .string(file.name.name)]
                object["crypt-mode"] = file.cryptMode.map { .string($0.rawValue) }
                object["size"] = file.size.map { .integer($0) }
                return .object(object)
            })
    }

    static func name(_ snapshot: SnapshotName) -> JSONObject {
        [
            "backup-type": .string(snapshot.group.type.rawValue), "backup-id": .string(snapshot.group.id),
            "backup-time": .integer(snapshot.time),
        ]
    }

    static func removal(_ counts: RemovalCounts) -> JSONValue {
        [
            "removed-groups": .integer(counts.removedGroups), "removed-snapshots": .integer(counts.removedSnapshots),
            "protected-snapshots": .integer(counts.protectedSnapshots),
        ]
    }

    private static func firstLine(_ notes: String?) -> JSONValue? {
        guard let notes, !notes.isEmpty else { return nil }
        return .string(String(notes.prefix { !$0.isNewline }))
    }
}

import BackupFormats
import Platform

/// Runs file work and turns a failed call, or bytes that break a format, into the failure of what was being done.
func storing<Value>(_ summary: @autoclosure () -> String, _ body: () throws -> Value) throws -> Value {
    do {
        return try body()
    } catch let error as SystemError {
        throw error.failure(summary())
    } catch let error as FormatError {
        throw BackupFailure(.corruptData, summary(), cause: error)
    }
}

extension BackupFailure {
    static func missing(_ snapshot: SnapshotName, in namespace: Namespace) -> BackupFailure {
        BackupFailure(.noSuchObject, "Snapshot \(text(snapshot, in: namespace)) does not exist")
    }

    static func missing(_ group: BackupGroup, in namespace: Namespace) -> BackupFailure {
        BackupFailure(.noSuchObject, "Group \(text(group, in: namespace)) does not exist")
    }

    static func beingWritten(_ running: RunningSnapshot) -> BackupFailure {
        BackupFailure(
            .conflict,
            "Snapshot \(text(running.snapshot, in: running.namespace)) is still being written by task \(running.task)")
    }
}

/// `a/b:vm/100` for logs and failures; nothing in front for the root namespace.
func text(_ object: some CustomStringConvertible, in namespace: Namespace) -> String {
    namespace.isRoot ? "\(object)" : "\(namespace):\(object)"
}

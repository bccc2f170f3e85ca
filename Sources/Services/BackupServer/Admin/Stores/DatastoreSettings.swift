import BackupFormats
import Datastore
package import StateDatabase
import Tasks

/// What the settings of a datastore mean to this server. (Spec: rest E.6.)
extension DatastoreRecord {
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the setting cannot be read.
    package func maintenanceMode() throws -> MaintenanceMode? {
        try properties["maintenance-mode"]?.stringValue.map { try MaintenanceMode(setting: $0) }
    }

    package var comment: String? { properties["comment"]?.stringValue }
    package var verifiesNew: Bool { properties["verify-new"]?.boolValue ?? false }

    /// When a group of it is overdue: a length of time, or `never`.
    var overdueAfter: String? { properties["overdue-after"]?.stringValue }

    /// From `tuning`; other keys there are kept and have no effect.
    func syncLevel() throws -> SyncLevel? {
        guard let tuning = properties["tuning"]?.stringValue,
            let word = try PropertyText(tuning, firstKey: "sync-level")["sync-level"]
        else { return nil }
        guard let level = SyncLevel(rawValue: word) else {
            throw BackupFailure(.invalidInput, "The sync level '\(word)' is not one of none, file and filesystem")
        }
        return level
    }

    /// What verifications may take of the machine, from `tuning`.
    func verifyEffort() throws -> VerifyEffort {
        var effort = VerifyEffort()
        guard let tuning = properties["tuning"]?.stringValue else { return effort }
        let pairs = try PropertyText(tuning, firstKey: "sync-level")
        func threads(_ key: String) throws -> Int? {
            guard let text = pairs[key] else { return nil }
            guard let count = Int(text), VerifyEffort.threadRange.contains(count) else {
                throw BackupFailure(
                    .invalidInput, "The setting '\(key)' is a number from 1 to 32, and '\(text)' is not")
            }
            return count
        }
        if pairs["chunk-order"] == "none" { effort.readsInDiskOrder = false }
        if let count = try threads("default-verification-readers") { effort.readThreads = count }
        if let count = try threads("default-verification-workers") { effort.verifyThreads = count }
        return effort
    }

    /// - Throws: ``BackupFailure`` of kind `invalidInput` for settings that cannot be read.
    func check() throws {
        _ = try maintenanceMode()
        _ = try verifyEffort()
        _ = try syncLevel()
        _ = try GroupRhythm.Setting(overdueAfter)
        for name in ["gc-schedule", "prune-schedule"] {
            guard let schedule = properties[name]?.stringValue else { continue }
            do { _ = try CalendarEvent(parsing: schedule) } catch {
                throw BackupFailure(.invalidInput, "The setting \(name) is no calendar event", cause: error)
            }
        }
    }
}

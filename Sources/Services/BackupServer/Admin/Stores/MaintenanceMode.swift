import BackupFormats
import BackupProtocol

/// A datastore that is deliberately not fully usable. (Spec: rest E.6.)
package struct MaintenanceMode: Hashable, Sendable {
    package enum Kind: String, Sendable {
        case readOnly = "read-only"
        case offline
    }

    package let kind: Kind
    /// For people; empty where none was given.
    package let message: String

    package init(kind: Kind, message: String = "") {
        self.kind = kind
        self.message = message
    }

    /// Reads the setting `maintenance-mode`: `read-only,message=back%20soon`.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    package init(setting: String) throws {
        let text = try PropertyText(setting, firstKey: "type")
        guard let kind = text["type"].flatMap(Kind.init(rawValue:)) else {
            throw BackupFailure(.invalidInput, "A maintenance mode is 'read-only' or 'offline'")
        }
        self.init(kind: kind, message: FormText.decode((text["message"] ?? "").utf8, plusIsBlank: false))
    }

    /// Why the datastore cannot be used so; nil where it can.
    func objection(to operation: DatastoreRegistry.Operation, of store: String) -> BackupFailure? {
        guard kind == .offline || operation == .write else { return nil }
        return BackupFailure(.conflict, "datastore '\(store)' is in \(kind.rawValue) maintenance mode: \(message)")
    }
}

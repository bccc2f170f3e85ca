package import BackupFormats

/// An object of a host: its reference and its fields.
package struct XenRecord: Sendable, Equatable {
    package let reference: String
    package let fields: JSONObject

    package init(_ reference: String, _ fields: JSONObject) {
        self.reference = reference
        self.fields = fields
    }

    package var uuid: String { fields["uuid"]?.stringValue ?? "" }
}

/// References, as hosts write them.
package enum XenReference {
    package static let null = "OpaqueRef:NULL"

    /// The reference that a field holds, where it is not the null one.
    package static func of(_ value: JSONValue?) -> String? {
        guard let text = value?.stringValue, !text.isEmpty, text != null else { return nil }
        return text
    }
}

extension XenHost {
    /// All fields of an object: `record("VM", ref)`.
    package func record(_ kind: String, _ reference: String) async throws -> JSONObject {
        try Self.object(try await call("\(kind).get_record", [.string(reference)]), "\(kind).get_record")
    }

    /// All objects of a kind.
    package func records(_ kind: String) async throws -> [XenRecord] {
        let method = "\(kind).get_all_records"
        return try Self.object(try await call(method, []), method).members.map {
            XenRecord($0.name, try Self.object($0.value, method))
        }
    }

    /// - Throws: ``XenFailure`` with code `UUID_INVALID` where there is none.
    package func reference(_ kind: String, uuid: String) async throws -> String {
        let method = "\(kind).get_by_uuid"
        guard let reference = try await call(method, [.string(uuid)]).stringValue else { throw Self.unexpected(method) }
        return reference
    }

    package func record(_ kind: String, uuid: String) async throws -> XenRecord {
        let reference = try await reference(kind, uuid: uuid)
        return XenRecord(reference, try await record(kind, reference))
    }

    package func field(_ kind: String, _ reference: String, _ name: String) async throws -> JSONValue {
        try await call("\(kind).get_\(name)", [.string(reference)])
    }

    package func setField(_ kind: String, _ reference: String, _ name: String, _ value: JSONValue) async throws {
        _ = try await call("\(kind).set_\(name)", [.string(reference), value])
    }

    /// Sets a key of `other_config`, or removes it where `value` is nil.
    package func setOtherConfig(_ kind: String, _ reference: String, _ key: String, _ value: String?) async throws {
        _ = try await call("\(kind).remove_from_other_config", [.string(reference), .string(key)])
        guard let value else { return }
        _ = try await call("\(kind).add_to_other_config", [.string(reference), .string(key), .string(value)])
    }

    /// Runs a call that may find its object gone.
    ///
    /// - Returns: Whether the object was there.
    @discardableResult
    package func unlessGone(_ body: () async throws -> Void) async throws -> Bool {
        do {
            try await body()
            return true
        } catch let failure as XenFailure where failure.code == "HANDLE_INVALID" || failure.code == "UUID_INVALID" {
            return false
        }
    }

    private static func object(_ value: JSONValue, _ method: String) throws(BackupFailure) -> JSONObject {
        guard let object = value.objectValue else { throw unexpected(method) }
        return object
    }

    private static func unexpected(_ method: String) -> BackupFailure {
        BackupFailure(.corruptData, "The host answers \(method) with a value of another type")
    }
}

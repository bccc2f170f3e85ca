package import BackupFormats

/// A pool of hosts, as backups use it: calls by name, tasks, and the transfers of disks and machines. Implemented by
/// ``XenConnection`` over the network.
package protocol XenHost: Sendable {
    /// One call with the session put in front: `call("VM.get_record", [.string(ref)])`.
    ///
    /// - Throws: ``XenFailure`` with the host's code; ``BackupFailure`` of kind `unavailable` where it cannot be reached.
    func call(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue
    /// `Async.<method>`: starts, waits, destroys the host's task; cancels it when the Swift task is cancelled.
    ///
    /// - Returns: The task's result: an `OpaqueRef:…` text, or the text inside `<value>`; empty where there is none.
    func run(_ method: String, _ parameters: [JSONValue]) async throws -> String

    /// `GET /export/`. `ref`: a halted machine or snapshot.
    func exportMachine(_ ref: String, compression: String?) async throws -> any XenTransfer
    /// `PUT /import/`; `byteCount` nil: unknown (declares 2^50 and cuts). Returns the new machine's reference.
    func importMachine(into storage: String, from source: any ByteSource, byteCount: UInt64?) async throws -> String
    /// `GET /export_raw_vdi/?format=vhd`, relative to `base` where one is given.
    func exportDisk(_ ref: String, base: String?) async throws -> any XenTransfer
    /// `PUT /import_raw_vdi/?format=vhd` into an existing disk.
    func importDisk(_ ref: String, from source: any ByteSource, byteCount: UInt64) async throws
    /// `GET /pool/xmldbdump`.
    func exportPoolDatabase() async throws -> any XenTransfer
    /// `PUT /pool/xmldbdump`.
    func importPoolDatabase(from source: any ByteSource, byteCount: UInt64) async throws

    func close() async
}

/// Bytes that come from a host. Its task on the host is watched: `read` throws where the host says that it failed, also
/// after the last byte; `finish` is called in every case, and cancels what has not ended.
package protocol XenTransfer: ByteSource {
    /// The length that the host declared, if it did.
    var byteCount: UInt64? { get }
    func finish() async
}

/// What a host answered instead of a result: `["VM_BAD_POWER_STATE", ref, …]`.
package struct XenFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let code: String
    package let parameters: [String]

    package init(code: String, parameters: [String] = []) {
        self.code = code
        self.parameters = parameters
    }

    package var description: String { ([code] + parameters).joined(separator: " ") }
}

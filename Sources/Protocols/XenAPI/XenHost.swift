package import BackupFormats

/// A pool of hosts, as backups use it: calls by name, tasks, and the transfers of disks and machines. Implemented by
/// ``XenConnection`` over the network.
///
/// All of it throws `CancellationError` where the Swift task is cancelled. Work that must be done all the same, such as
/// tidying up after a cancellation, runs in ``uncancelled(_:)``.
package protocol XenHost: Sendable {
    /// One call with the session put in front: `call("VM.get_record", [.string(ref)])`.
    ///
    /// A call that changes something is not torn: once it is sent, its answer is awaited, cancelled or not.
    ///
    /// - Throws: ``XenFailure`` with the host's code; ``BackupFailure`` of kind `unavailable` where it cannot be reached.
    func call(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue
    /// `Async.<method>`: starts, waits, destroys the host's task; cancels it when the Swift task is cancelled. What the
    /// host had finished before it heard of the cancellation is returned, so that the caller can undo it.
    ///
    /// - Returns: The task's result: an `OpaqueRef:…` text, or the text inside `<value>`; empty where there is none.
    func run(_ method: String, _ parameters: [JSONValue]) async throws -> String

    /// `GET /export/`. `ref`: a halted machine or snapshot. `compression`: nil or empty, `native` (gzip), or `zstd`.
    func exportMachine(_ ref: String, compression: String?) async throws -> any XenTransfer
    /// `PUT /import/`; `byteCount` nil: unknown (declares 2^50 and cuts). Returns the new machine's reference. On failure
    /// the host has nothing of it.
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

/// Runs `body` to its end, whether or not the Swift task around it is cancelled.
package func uncancelled<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await Task { try await body() }.value
}

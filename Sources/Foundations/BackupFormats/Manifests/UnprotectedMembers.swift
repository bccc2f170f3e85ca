/// The members of ``Manifest/unprotected`` that have a meaning. Hyphens and
/// underscores are mixed in the format. (Spec: formats §4.2.)
extension Manifest {
    /// What the server counted while the snapshot was uploaded: sums over all indexes.
    package struct UploadStatistics: Hashable, Sendable {
        package var count: UInt64
        /// Includes the sizes of blobs.
        package var size: UInt64
        package var compressedSize: UInt64
        package var duplicates: UInt64

        package init(count: UInt64, size: UInt64, compressedSize: UInt64, duplicates: UInt64) {
            self.count = count
            self.size = size
            self.compressedSize = compressedSize
            self.duplicates = duplicates
        }
    }

    /// The result of the last verification.
    package struct VerifyState: Hashable, Sendable {
        package enum Outcome: String, Sendable { case ok, failed }

        package var outcome: Outcome
        /// The task that verified. A text, because other writers may have other forms.
        package var task: String

        package init(outcome: Outcome, task: String) {
            self.outcome = outcome
            self.task = task
        }
    }

    /// 32 bytes as pairs of digits joined by colons; present where the client had a key.
    package var keyFingerprint: String? {
        get { unprotected["key-fingerprint"]?.stringValue }
        set { unprotected["key-fingerprint"] = newValue.map { .string($0) } }
    }

    /// The comment of the snapshot.
    package var notes: String? {
        get { unprotected["notes"]?.stringValue }
        set { unprotected["notes"] = newValue.map { .string($0) } }
    }

    package var verifyState: VerifyState? {
        get {
            guard let value = unprotected["verify_state"],
                let outcome = value["state"]?.stringValue.flatMap(VerifyState.Outcome.init(rawValue:)),
                let task = value["upid"]?.stringValue
            else { return nil }
            return VerifyState(outcome: outcome, task: task)
        }
        set {
            unprotected["verify_state"] = newValue.map {
                ["state": .string($0.outcome.rawValue), "upid": .string($0.task)]
            }
        }
    }

    package var uploadStatistics: UploadStatistics? {
        get {
            guard let value = unprotected["chunk_upload_stats"] else { return nil }
            func number(_ name: String) -> UInt64? { value[name]?.intValue.flatMap { UInt64(exactly: $0) } }
            guard let count = number("count"), let size = number("size"),
                let compressedSize = number("compressed_size"), let duplicates = number("duplicates")
            else { return nil }
            return UploadStatistics(count: count, size: size, compressedSize: compressedSize, duplicates: duplicates)
        }
        set {
            unprotected["chunk_upload_stats"] = newValue.map {
                [
                    "compressed_size": .integer($0.compressedSize), "count": .integer($0.count),
                    "duplicates": .integer($0.duplicates), "size": .integer($0.size),
                ]
            }
        }
    }
}

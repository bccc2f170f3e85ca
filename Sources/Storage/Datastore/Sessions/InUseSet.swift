import BackupFormats

/// The chunks that one session relies on: garbage collection keeps them, whatever the disk says. (Design decision 4.)
///
/// It is the session's map of known chunks as well: a digest is *known*, and may be appended to an index, once it was
/// uploaded in the session or read from the base by `previous`. Digests copied by `reuse-csum` are pinned, not known.
package final class InUseSet: Sendable {
    /// How a digest came into the set. A later, stronger origin replaces a weaker one.
    package enum Origin: UInt32, Comparable, Sendable {
        /// Copied from the base's index in place; not known.
        case copied = 1
        /// From an index fetched by `previous`.
        case previous = 2
        /// Uploaded, and in the store before.
        case duplicate = 3
        /// Uploaded, and written as a new file by this session.
        case written = 4

        package static func < (left: Origin, right: Origin) -> Bool { left.rawValue < right.rawValue }
    }
}

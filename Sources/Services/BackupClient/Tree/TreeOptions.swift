/// What a backup of a folder leaves out or lets in.
package struct TreeArchiveOptions: Sendable {
    /// Entries that a run takes unless told otherwise.
    package static let defaultEntriesMax = 1_048_576

    /// Patterns of `--exclude`, see ``PathPattern``. They are kept in the archive as `.pxarexclude-cli`.
    package var excludes: [String] = []
    /// Paths on file systems that are entered although they are mounted below the root (`--include-dev`).
    package var includedDevices: [String] = []
    /// Enters every file system but the kernel's own ones (`--all-file-systems`).
    package var crossesFileSystems = false
    /// Leaves out `lost+found` in the root of each file system.
    package var skipsLostAndFound = false
    /// Goes on without the extended attributes that the kernel cannot list for their number.
    package var skipsTooBigXAttrs = false
    /// Above this number of entries the run fails, as a guard against walking somewhere by mistake.
    package var entriesMax = Self.defaultEntriesMax

    package init() {}
}

/// What a restore into a folder selects, and what it may replace or leave out.
package struct TreeExtractOptions: Sendable {
    /// Patterns of `--pattern`; without any, everything is restored. What is in a selected folder is selected.
    package var patterns: [String] = []
    package var allowsExistingFolders = false
    package var overwritesFiles = false
    package var overwritesSymlinks = false
    package var overwritesHardLinks = false
    package var ignoresACLs = false
    package var ignoresXAttrs = false
    package var ignoresOwnership = false
    /// New files get 0644, folders 0755.
    package var ignoresPermissions = false
    package var ignoresDeviceErrors = false

    package init() {}
}

/// Something that a walk could not take along or a restore could not set, and went on.
package struct TreeWarning: Hashable, Sendable, CustomStringConvertible {
    /// From the root of the archive; bytes that are no UTF-8 are replaced.
    package var path: String
    package var reason: String

    package init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    package var description: String { "\(path): \(reason)" }
}

/// What a run did.
package struct TreeSummary: Hashable, Sendable {
    /// Entries written or restored, the root included.
    package var entries = 0
    /// Bytes of the archive, or bytes of restored contents.
    package var bytes: UInt64 = 0
    package var warnings = 0

    package init() {}
}

package import BackupFormats

/// The two kinds of index writers of a backup session. They share one counter of ids.
package enum WriterKind: String, CaseIterable, Sendable {
    case dynamic, fixed

    /// What the archives of this kind are called: `.didx`, `.fidx`.
    package var archiveKind: ArchiveName.Kind {
        switch self {
        case .dynamic: .dynamicIndex
        case .fixed: .fixedIndex
        }
    }
}

package import BackupFormats

extension SnapshotDownload {
    /// Restores a pxar archive into a folder.
    ///
    /// - Parameter warn: Called from one thread.
    package func restoreTree(
        _ file: Manifest.File, into path: String, options: TreeExtractOptions,
        warn: @escaping @Sendable (TreeWarning) -> Void
    ) async throws -> TreeSummary {
        let extraction = TreeExtraction()
        try await stream(file) { content in
            try extraction.extractor(into: path, options: options, warn: warn).push(content)
        }
        return try extraction.finish()
    }
}

/// The extractor, handed from the thread that pushes to the one that finishes; never used by two at a time.
private final class TreeExtraction: @unchecked Sendable {
    private var current: TreeExtractor?

    func extractor(
        into path: String, options: TreeExtractOptions, warn: @escaping @Sendable (TreeWarning) -> Void
    ) throws -> TreeExtractor {
        if let current { return current }
        let made = try TreeExtractor(into: path, options: options, warn: warn)
        current = made
        return made
    }

    func finish() throws -> TreeSummary {
        guard let current else { throw BackupFailure(.corruptData, "The archive has no bytes") }
        return try current.finish()
    }
}

extension TreeExtractor {
    fileprivate func push(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try push($0) } }
}

import BackupFormats

/// Adds up the files below a folder.
struct UsedRoom: Sendable {
    /// Deeper than anything in the layout.
    private static let maxDepth = 12

    let files: any RemoteFiles

    /// What vanishes meanwhile does not count.
    func byteCount(of path: String, depth: Int = 0) async throws -> UInt64 {
        if depth > 0, !Self.looksLikeFolder(path), let size = try? await files.size(of: path) { return size }
        guard depth < Self.maxDepth else { return 0 }
        let names: [String]
        do {
            names = try await files.list(path)
        } catch {
            if depth > 0, let size = try? await files.size(of: path) { return size }
            if let failure = error as? BackupFailure, failure.kind == .notFound { return 0 }
            throw error
        }
        var total: UInt64 = 0
        for name in names where !name.hasSuffix(".lock") {
            total += try await byteCount(of: "\(path)/\(name)", depth: depth + 1)
        }
        return total
    }

    /// Ids have no dot; files of the layout do, but for `data` of metadata backups, for which the listing fails.
    private static func looksLikeFolder(_ path: String) -> Bool { !ClassicPath.name(of: path).contains(".") }
}

import BackupFormats

/// A look at the two ends of a stored XVA. (Spec: xo-proxy §7.7.)
struct XVAGlance: Sendable {
    private static let leastBytes: UInt64 = 20
    private static let gzip: [UInt8] = [0x1f, 0x8b]
    private static let zstd: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
    private static let tailBytes = 1024

    let files: any RemoteFiles

    /// What is wrong with it; nil where nothing can be seen.
    func fault(of path: String) async throws -> String? {
        let size = try await files.size(of: path)
        guard size >= Self.leastBytes else { return "it has \(size) bytes" }
        let head = try await files.read(path, at: 0, count: 4)
        if head.starts(with: Self.gzip) || head.starts(with: Self.zstd) { return nil }
        guard size > UInt64(Self.tailBytes), size % 512 == 0 else { return "its length is not that of an archive" }
        let tail = try await files.read(path, at: size - UInt64(Self.tailBytes), count: Self.tailBytes)
        return tail.count == Self.tailBytes && tail.allSatisfy { $0 == 0 } ? nil : "its end is missing"
    }
}

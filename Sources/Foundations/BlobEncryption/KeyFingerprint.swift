package import BackupFormats

/// Tells which key a backup was made with, without giving the key away. (Spec: formats §5.5.)
package struct KeyFingerprint: Hashable, Sendable {
    package let value: ChunkDigest

    package init(_ value: ChunkDigest) { self.value = value }

    /// Reads 64 lowercase digits; colons are ignored. Nil for anything else.
    package init?(parsing text: some StringProtocol) {
        guard let value = ChunkDigest(parsing: String(text.filter { $0 != ":" })) else { return nil }
        self.value = value
    }

    /// The first 8 bytes, as log lines show it.
    package var short: String { Self.text(value.bytes.prefix(8)) }

    private static func text(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { Hex.encode([$0]) }.joined(separator: ":")
    }
}

extension KeyFingerprint: CustomStringConvertible {
    /// 32 pairs of digits joined by colons, as manifests and key files hold it.
    package var description: String { Self.text(value.bytes) }
}

import BackupFormats

/// Base64 as peers write it: without padding.
enum PeerBase64 {
    /// Standard alphabet.
    static func text(_ bytes: [UInt8]) -> String {
        String(Base64.encode(bytes).prefix { $0 != "=" })
    }

    /// URL-safe alphabet.
    static func urlText(_ bytes: [UInt8]) -> String {
        String(text(bytes).map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
    }

    /// Nil where the text is padded, of the URL-safe alphabet, or not what encoding its bytes gives.
    static func bytes(_ text: String) -> [UInt8]? {
        guard !text.utf8.contains(UInt8(ascii: "=")) else { return nil }
        let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        guard let bytes = Base64.decode(text + padding), Self.text(bytes) == text else { return nil }
        return bytes
    }
}

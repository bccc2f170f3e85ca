import BackupFormats
import Platform

extension Datastore {
    private static let identityByteCount = 16

    /// What this store is known by, whatever it is called and wherever it lies: 16 random bytes that the first caller
    /// puts into `.cairn/uuid`. Blocks.
    ///
    /// - Returns: Nil for a store that has none and can only be read.
    package func identity() throws -> [UInt8]? {
        let path = "\(layout.own)/uuid"
        return try storing("The identity of datastore \(name) cannot be read") {
            if let text = try FileSystem.readIfPresent(path, limit: 4096) {
                let digits = String(decoding: text, as: UTF8.self).filter { !$0.isWhitespace }
                if let bytes = Hex.decode(digits), bytes.count == Self.identityByteCount { return bytes }
            }
            guard !isReadOnly else { return nil }
            let made = try SystemRandom.uuid()
            try AtomicFile.replace(
                path, with: Array((Hex.encode(made) + "\n").utf8), mode: StoreLayout.fileMode, owner: owner.toGive,
                isSynced: options.syncLevel != .none)
            return made
        }
    }
}

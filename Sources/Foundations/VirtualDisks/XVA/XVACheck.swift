package import BackupFormats

/// Watches the bytes of a machine's export while they are written, and says at the end whether they are a whole XVA.
///
/// A compressed one is known by its first bytes and accepted unseen. (Spec: xo-proxy §7.7.)
package struct XVACheck: Sendable {
    /// Shorter is nothing.
    private static let leastBytes: UInt64 = 20
    private static let gzip: [UInt8] = [0x1f, 0x8b]
    private static let zstd: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]

    /// Bytes seen.
    package private(set) var byteCount: UInt64 = 0
    private var start: [UInt8] = []
    private var decoder = XVADecoder()
    /// What was found to be wrong so far; nothing that follows mends it.
    package private(set) var problem: FormatError?

    package init() {}

    /// Whether the first bytes say that the archive is compressed.
    package var isCompressed: Bool { Self.isCompressed(start) }

    /// Takes the next bytes.
    package mutating func add(_ bytes: [UInt8]) {
        byteCount += UInt64(bytes.count)
        guard problem == nil else { return }
        if start.count < Self.zstd.count {
            let begun = start.count
            start.append(contentsOf: bytes.prefix(Self.zstd.count - begun))
            guard start.count == Self.zstd.count else { return }
            if !isCompressed { decode(begun > 0 ? start + bytes.dropFirst(start.count - begun) : bytes) }
        } else if !isCompressed {
            decode(bytes)
        }
    }

    /// - Throws: ``BackupFailure`` of kind `corruptData` where what was seen is no whole XVA.
    package func finish() throws {
        let found: FormatError?
        if let problem {
            found = problem
        } else if byteCount < Self.leastBytes {
            found = .truncated(offset: 0, needed: Int(Self.leastBytes), available: Int(byteCount))
        } else if isCompressed {
            found = nil
        } else {
            do throws(FormatError) {
                try decoder.finish()
                found = nil
            } catch {
                found = error
            }
        }
        if let found { throw BackupFailure(.corruptData, "The export is not a whole XVA", cause: found) }
    }

    private mutating func decode(_ bytes: [UInt8]) {
        do throws(FormatError) {
            var offset = 0
            while try decoder.next(in: bytes, at: &offset) != nil {}
        } catch {
            problem = error
        }
    }

    static func isCompressed(_ start: [UInt8]) -> Bool { start.starts(with: gzip) || start.starts(with: zstd) }
}

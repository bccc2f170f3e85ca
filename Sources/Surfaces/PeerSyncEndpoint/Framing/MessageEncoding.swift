import BackupFormats
import BlobCoding
package import PeerSyncProtocol

/// How the marked messages of one direction of a stream are compressed. (Spec: backrest-sync §3.3.)
package enum MessageEncoding: String, Sendable, CaseIterable {
    case identity, gzip

    /// Deflate makes at most so many bytes of one.
    private static let maxRatio = 1032

    /// - Parameter field: The value of the header field; nil where there is none.
    /// - Throws: ``PeerSyncFailure`` (`unsupported`) for another encoding.
    package init(field: String?) throws(PeerSyncFailure) {
        guard let field, !field.isEmpty else {
            self = .identity
            return
        }
        guard let known = Self(rawValue: field.lowercased()) else {
            throw PeerSyncFailure(.unsupported, "the encoding '\(field.prefix(32))'; identity and gzip are known")
        }
        self = known
    }

    /// The content of a marked message.
    ///
    /// - Parameter limit: Bytes that are taken at most; checked before memory is.
    /// - Throws: ``PeerSyncFailure``: `tooLarge` above the limit, `protocolError` for what is not compressed like this.
    package func decode(_ bytes: [UInt8], limit: Int) throws(PeerSyncFailure) -> [UInt8] {
        guard self == .gzip else {
            throw PeerSyncFailure(.protocolError, "a compressed message on a stream without an encoding")
        }
        // Some mark an empty message, too.
        guard !bytes.isEmpty else { return [] }
        do {
            return try Gzip.decompress(bytes, limit: min(limit, bytes.count * Self.maxRatio))
        } catch .tooLong(let length, _, _) {
            throw PeerSyncFailure(.tooLarge, "a message of \(length) bytes when it is decompressed; \(limit) are taken")
        } catch {
            throw PeerSyncFailure(.protocolError, "a message that is not compressed with gzip")
        }
    }
}

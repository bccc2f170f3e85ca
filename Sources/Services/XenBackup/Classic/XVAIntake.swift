import BackupFormats
import Crypto
import Synchronization
import VirtualDisks

/// The checksum file beside an XVA. (Spec: xo-proxy §4.7.)
enum XVAChecksum {
    static let suffix = ".checksum"

    /// `$1$$<md5>`.
    static func text(_ digest: Insecure.MD5.Digest) -> [UInt8] { Array("$1$$\(Hex.encode(Array(digest)))".utf8) }
}

/// Hands an XVA through and looks at it on its way: its checksum, and at the end whether it is whole.
final class XVAIntake: ByteSource {
    private struct State {
        var hash = Insecure.MD5()
        var check = XVACheck()
        var byteCount: UInt64 = 0
    }

    private let source: any ByteSource
    private let state = Mutex(State())

    init(_ source: any ByteSource) { self.source = source }

    var byteCount: UInt64 { state.withLock { $0.byteCount } }
    var checksum: Insecure.MD5.Digest { state.withLock { $0.hash.finalize() } }

    /// - Throws: At the end ``BackupFailure`` of kind `corruptData` where it was cut or is no XVA.
    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        guard let bytes = try await source.read(upTo: maxBytes) else {
            try state.withLock { state in
                do {
                    try state.check.finish()
                } catch {
                    throw BackupFailure(.corruptData, "The machine did not arrive whole", cause: error)
                }
            }
            return nil
        }
        state.withLock { state in
            state.hash.update(data: bytes)
            state.check.add(bytes)
            state.byteCount += UInt64(bytes.count)
        }
        return bytes
    }
}

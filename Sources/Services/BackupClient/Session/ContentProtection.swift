package import BackupFormats
package import BlobEncryption

/// How a snapshot's content is protected: the mode, the key, and who else shall be able to recover the key.
package struct ContentProtection: Sendable {
    package static let none = ContentProtection()

    package let mode: CryptMode
    /// Signs the manifest in both modes other than `none`.
    package let key: EncryptionKey?
    /// The key in the open, sealed for the holder of the master key; goes into the snapshot.
    private let sealedKey: [UInt8]?

    private init() {
        mode = .none
        key = nil
        sealedKey = nil
    }

    /// - Parameters:
    ///   - mode: Not `none`.
    ///   - file: The file that the key is from.
    ///   - master: For whom the key is put into the snapshot, if for anybody.
    ///   - time: Of the backup, Unix seconds.
    package init(
        _ mode: CryptMode, key: EncryptionKey, from file: KeyFile, master: MasterPublicKey?, time: Int64
    ) throws {
        self.mode = mode
        self.key = mode == .none ? nil : key
        sealedKey = mode == .none ? nil : try master?.encrypt(try file.unprotected(key, modified: time))
    }

    /// What chunks and blobs are encrypted with.
    package var encryptionKey: EncryptionKey? { mode == .encrypt ? key : nil }

    /// The content of `rsa-encrypted.key.blob`, if the snapshot gets one.
    var keyForMaster: [UInt8]? { sealedKey }

    /// Refuses a previous snapshot of another key, or one that was tampered with.
    func checkPrevious(_ manifest: Manifest) throws {
        guard let key else { return }
        switch try ManifestSignature.verdict(on: manifest, with: key) {
        case .valid, .unsigned: return
        case .otherKey(let fingerprint):
            throw BackupFailure(.invalidInput, "it was made with the key \(fingerprint.short)")
        case .wrong: throw BackupFailure(.corruptData, "the signature of its manifest is wrong")
        }
    }

    func signed(_ manifest: Manifest) throws -> Manifest {
        guard let key else { return manifest }
        return try ManifestSignature.sign(manifest, with: key)
    }
}

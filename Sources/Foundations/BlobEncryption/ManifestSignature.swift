package import BackupFormats

/// Signs manifests and judges signatures. (Spec: formats §4.6.)
package enum ManifestSignature {
    package enum Verdict: Hashable, Sendable {
        case valid
        case unsigned
        /// The manifest names the fingerprint of another key.
        case otherKey(KeyFingerprint)
        /// The signature does not fit the manifest, or the named fingerprint is none.
        case wrong
    }

    /// The manifest with signature and fingerprint of `key`, as a client with a key writes it.
    ///
    /// - Throws: As ``Manifest/signedBytes()``.
    package static func sign(_ manifest: Manifest, with key: EncryptionKey) throws(FormatError) -> Manifest {
        var signed = manifest
        signed.keyFingerprint = key.fingerprint.description
        signed.signature = Hex.encode(key.authenticationCode(for: try manifest.signedBytes()))
        return signed
    }

    /// - Throws: As ``Manifest/signedBytes()``.
    package static func verdict(on manifest: Manifest, with key: EncryptionKey) throws(FormatError) -> Verdict {
        if let member = manifest.unprotected["key-fingerprint"], !member.isNull {
            guard let named = member.stringValue.flatMap({ KeyFingerprint(parsing: $0) }) else { return .wrong }
            guard named == key.fingerprint else { return .otherKey(named) }
        }
        guard let text = manifest.signature else { return .unsigned }
        guard let signature = Hex.decode(text) else { return .wrong }
        return key.isValid(signature, for: try manifest.signedBytes()) ? .valid : .wrong
    }

    /// Refuses a manifest that `key` did not sign.
    ///
    /// - Parameter overriding: The person's explicit wish to go on without a valid signature. A manifest made with
    ///   another key is refused all the same, since nothing in its snapshot can be read.
    /// - Throws: ``BackupFailure`` of kind `corruptData` or `invalidInput` that names the snapshot.
    package static func require(
        on manifest: Manifest, by key: EncryptionKey, overriding: Bool = false
    ) throws(BackupFailure) {
        let verdict: Verdict
        do {
            verdict = try self.verdict(on: manifest, with: key)
        } catch {
            throw BackupFailure(.corruptData, "The manifest of \(manifest.snapshot) cannot be checked", cause: error)
        }
        switch verdict {
        case .valid: return
        case .otherKey(let fingerprint):
            throw BackupFailure(
                .invalidInput,
                "\(manifest.snapshot) was made with the key \(fingerprint.short), not with \(key.fingerprint.short)")
        case .unsigned where overriding, .wrong where overriding: return
        case .unsigned:
            throw BackupFailure(
                .corruptData, "The manifest of \(manifest.snapshot) is not signed",
                hints: ["Leave the key away, or say explicitly that an unsigned manifest will do."])
        case .wrong:
            throw BackupFailure(
                .corruptData, "The signature of the manifest of \(manifest.snapshot) is wrong",
                hints: ["Somebody changed the manifest after the backup."])
        }
    }
}

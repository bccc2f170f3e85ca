/// How the content of an archive is protected, as the manifest lists it.
package enum CryptMode: String, CaseIterable, Sendable {
    case none
    case encrypt
    /// Plain content under a signed manifest.
    case signOnly = "sign-only"

    /// Whether the chunks of an index of this mode are encrypted; a mixture is an error.
    package var hasEncryptedChunks: Bool { self == .encrypt }
}

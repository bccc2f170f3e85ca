import BackupHTTP2
import Testing

@Suite("A certificate's fingerprint")
struct CertificateFingerprintTests {
    @Test("is read with and without colons and written in one form")
    func forms() throws {
        let hex = String(repeating: "aB", count: 32)
        let fingerprint = try #require(CertificateFingerprint(parsing: hex))
        #expect(fingerprint.description == Array(repeating: "ab", count: 32).joined(separator: ":"))
        #expect(CertificateFingerprint(parsing: fingerprint.description) == fingerprint)
        #expect(CertificateFingerprint(parsing: "ab:cd") == nil)
        #expect(CertificateFingerprint(parsing: String(hex.dropLast()) + "g") == nil)
    }

    @Test("is the SHA-256 of the DER")
    func digest() {
        #expect(
            CertificateFingerprint(ofDER: Array("abc".utf8)).description.hasPrefix("ba:78:16:bf:8f:01:cf:ea"))
    }
}

import BackupFormats
import BackupHTTP2
import Foundation
import SwiftASN1
import X509

/// The members of the API's description of a certificate. (Spec: rest E.8.)
enum CertificateDescription {
    static func make(of source: ListenerConfiguration.Certificate) throws -> JSONObject {
        let pem = String(decoding: try ServerCertificate.read(source), as: UTF8.self)
        do {
            let document = try PEMDocument.parseMultiple(pemString: pem)
            guard let leaf = document.first(where: { $0.discriminator == "CERTIFICATE" }) else {
                throw BackupFailure(.invalidInput, "there is no certificate in the certificate's file")
            }
            let certificate = try Certificate(derEncoded: leaf.derBytes)
            let names = try certificate.extensions.subjectAlternativeNames.map { $0.map { text($0) } } ?? []
            return [
                "filename": .string(ServerCertificate.certificateName), "subject": .string("\(certificate.subject)"),
                "issuer": .string("\(certificate.issuer)"), "san": .array(names.map { .string($0) }),
                "notbefore": .integer(Int64(certificate.notValidBefore.timeIntervalSince1970)),
                "notafter": .integer(Int64(certificate.notValidAfter.timeIntervalSince1970)),
                "public-key-type": .string("\(certificate.publicKey)".replacing(".PublicKey", with: "")),
                "fingerprint": .string("\(CertificateFingerprint(ofDER: leaf.derBytes))"), "pem": .string(pem),
            ]
        } catch let failure as BackupFailure {
            throw failure
        } catch {
            throw BackupFailure(.invalidInput, "the certificate cannot be described", cause: error)
        }
    }

    /// A name that the certificate is for: a host's name, an address, or what else there is.
    private static func text(_ name: GeneralName) -> String {
        switch name {
        case .dnsName(let name): return name
        case .ipAddress(let address):
            let bytes = Array(address.bytes)
            guard bytes.count == 16 else { return bytes.map(String.init).joined(separator: ".") }
            return stride(from: 0, to: 16, by: 2)
                .map { String(Int(bytes[$0]) << 8 | Int(bytes[$0 + 1]), radix: 16) }.joined(separator: ":")
        default: return "\(name)"
        }
    }
}

import BackupFormats
import BackupHTTP2
import Foundation
import SwiftASN1
import X509

/// The members of the API's description of a certificate. (Spec: rest E.8.)
enum CertificateDescription {
    static func make(of source: ListenerConfiguration.Certificate) throws -> JSONObject {
        let text = String(decoding: try ServerCertificate.read(source), as: UTF8.self)
        do {
            let document = try PEMDocument.parseMultiple(pemString: text)
            guard let leaf = document.first(where: { $0.discriminator == "CERTIFICATE" }) else {
                throw BackupFailure(.invalidInput, "there is no certificate in the certificate's file")
            }
            let certificate = try Certificate(derEncoded: leaf.derBytes)
            let names = try certificate.extensions.subjectAlternativeNames.map { $0.map { "\($0)" } } ?? []
            return [
                "filename": .string(ServerCertificate.certificateName), "subject": .string("\(certificate.subject)"),
                "issuer": .string("\(certificate.issuer)"), "san": .array(names.map { .string($0) }),
                "notbefore": .integer(Int64(certificate.notValidBefore.timeIntervalSince1970)),
                "notafter": .integer(Int64(certificate.notValidAfter.timeIntervalSince1970)),
                "public-key-type": .string("\(certificate.publicKey)"),
                "fingerprint": .string("\(CertificateFingerprint(ofDER: leaf.derBytes))"), "pem": .string(text),
            ]
        } catch let failure as BackupFailure {
            throw failure
        } catch {
            throw BackupFailure(.invalidInput, "the certificate cannot be described", cause: error)
        }
    }
}

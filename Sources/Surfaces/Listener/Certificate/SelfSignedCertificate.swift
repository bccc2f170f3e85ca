import BackupFormats
import Crypto
import Foundation
import NIOCore
import SwiftASN1
import X509

/// A certificate that signs itself, as a server makes one on its first start.
enum SelfSignedCertificate {
    private static let validity = TimeInterval(10 * 365 * 86_400)
    /// Before now, for clients whose clocks are behind.
    private static let leeway = TimeInterval(86_400)

    /// Certificate and key as PEM.
    ///
    /// - Parameter names: Host names and addresses that the certificate is for.
    static func make(names: [String], time: TimeSource) throws -> (certificate: String, key: String) {
        let key = P256.Signing.PrivateKey()
        let now = Date(timeIntervalSince1970: TimeInterval(time.seconds))
        let subject = try DistinguishedName { CommonName(names.first ?? "localhost") }
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
            notValidBefore: now - leeway, notValidAfter: now + validity, issuer: subject, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                // No key usage: TLS libraries would then no longer take the file as an authority for itself.
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names.map(generalName))
            },
            issuerPrivateKey: .init(key))
        var serializer = DER.Serializer()
        try certificate.serialize(into: &serializer)
        let pem = PEMDocument(type: "CERTIFICATE", derBytes: serializer.serializedBytes)
        return (pem.pemString + "\n", key.pemRepresentation + "\n")
    }

    private static func generalName(_ name: String) -> GeneralName {
        guard let address = try? SocketAddress(ipAddress: name, port: 0) else { return .dnsName(name) }
        let bytes: [UInt8] =
            switch address {
            case .v4: addressBytes(address, at: 4, count: 4)
            case .v6: addressBytes(address, at: 8, count: 16)
            case .unixDomainSocket: []
            }
        return .ipAddress(ASN1OctetString(contentBytes: bytes[...]))
    }

    /// Where the address stands in the system's structure for socket addresses.
    private static func addressBytes(_ address: SocketAddress, at offset: Int, count: Int) -> [UInt8] {
        address.withSockAddr { pointer, size in
            guard offset + count <= size else { return [] }
            return Array(UnsafeRawBufferPointer(start: UnsafeRawPointer(pointer) + offset, count: count))
        }
    }
}

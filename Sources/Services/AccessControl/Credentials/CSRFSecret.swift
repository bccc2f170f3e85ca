import BackupFormats
import Crypto
import Platform
import StateDatabase

/// The secret below CSRF tokens `<time>:<mac>`, which writing requests with a cookie must carry. (Spec: rest D.4.)
struct CSRFSecret: Sendable {
    static let fileName = "csrf.key"
    static let byteCount = 64
    /// Age of an accepted token in seconds.
    static let validAge: ClosedRange<Int64> = -300...7200

    private let secret: [UInt8]

    init(_ secret: [UInt8]) { self.secret = secret }

    /// The secret of the state folder; made there on the first start.
    init(folder: StateFolder) throws {
        if let bytes = try folder.read(Self.fileName) {
            let text = String(decoding: bytes, as: UTF8.self).filter { $0 != "\n" && $0 != "=" }
            guard let secret = UnpaddedBase64.decode(text), secret.count >= 32 else {
                throw BackupFailure(.corruptData, "\(Self.fileName) in the state folder is no secret")
            }
            self.secret = secret
        } else {
            secret = try SystemRandom.bytes(Self.byteCount)
            try folder.replace(Self.fileName, with: Array(UnpaddedBase64.encode(secret).utf8))
        }
    }

    func token(for user: AuthID, at time: Int64) -> String {
        let text = Ticket.hexTime(time)
        return "\(text):\(UnpaddedBase64.encode(mac(text, user)))"
    }

    /// - Throws: ``CredentialFault`` with the reason.
    func verify(_ token: String, of user: AuthID, at now: Int64) throws(CredentialFault) {
        let parts = token.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2 else {
            throw CredentialFault("invalid csrf token - format error - wrong number of parts.")
        }
        guard let time = Ticket.time(parts[0]), let mac = UnpaddedBase64.decode(parts[1]) else {
            throw CredentialFault("invalid csrf token - format error - malformed parts.")
        }
        let timeText = String(parts[0])
        guard isEqualInConstantTime(mac, self.mac(timeText, user)) || isEqualInConstantTime(mac, oldMAC(timeText, user))
        else { throw CredentialFault("invalid csrf token - invalid signature.") }
        let (age, isHuge) = now.subtractingReportingOverflow(time)
        guard !isHuge, Self.validAge.contains(age) else {
            throw CredentialFault("invalid csrf token - timestamp out of range.")
        }
    }

    private func mac(_ time: String, _ user: AuthID) -> [UInt8] {
        Array(HMAC<SHA3_256>.authenticationCode(for: Array("\(time):\(user):".utf8), using: SymmetricKey(data: secret)))
    }

    /// The form of older installations.
    private func oldMAC(_ time: String, _ user: AuthID) -> [UInt8] {
        Array(SHA256.hash(data: Array("\(time):\(user):".utf8) + secret))
    }
}

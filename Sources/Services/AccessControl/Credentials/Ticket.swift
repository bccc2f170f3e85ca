import BackupFormats

/// A signed statement of this server: `<prefix>:<data>:<time>::<signature>`. (Spec: rest D.3.)
///
/// The data of a login ticket is the user's id. The time is in Unix seconds, at least 8 upper-case hexadecimal digits.
/// The signature covers everything before the two colons, as it stands.
struct Ticket: Sendable {
    static let loginPrefix = "PBS"
    /// Longer text is no ticket.
    static let maxLength = 4096
    /// How old a login ticket may be, in seconds; a little in the future is a clock that differs.
    static let validAge: ClosedRange<Int64> = -300...7200

    let prefix: String
    let data: String
    let time: Int64
    /// What the signature covers.
    let signedText: String
    let signature: [UInt8]

    /// Makes a login ticket.
    static func login(_ user: AuthID, at time: Int64, keys: TicketKeys) throws -> String {
        let text = "\(loginPrefix):\(Percent.encode(user.description)):\(hexTime(time))"
        return "\(text)::\(UnpaddedBase64.encode(try keys.sign(Array(text.utf8))))"
    }

    /// Reads a ticket; nothing is verified yet.
    ///
    /// - Throws: ``CredentialFault`` where the text has another form.
    init(parsing text: String) throws(CredentialFault) {
        guard text.utf8.count <= Self.maxLength, let colons = text.lastRange(ofDoubleColon: ()) else {
            throw CredentialFault("ticket without data")
        }
        let head = text[..<colons.lowerBound]
        let parts = head.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, let prefix = Percent.decode(parts[0]), let data = Percent.decode(parts[1]),
            !data.isEmpty
        else { throw CredentialFault("ticket without data") }
        guard let time = Self.time(parts[2]) else { throw CredentialFault("ticket with malformed timestamp") }
        guard let signature = UnpaddedBase64.decode(text[colons.upperBound...]) else {
            throw CredentialFault("ticket with invalid signature")
        }
        self.prefix = prefix
        self.data = data
        self.time = time
        signedText = String(head)
        self.signature = signature
    }

    /// The user whom a login ticket names.
    ///
    /// - Throws: ``CredentialFault`` where it is no login ticket, has another age or a bad signature. The
    ///   partial tickets of a second factor name no user, and their signature covers more, so they end here too.
    func verifiedUser(at now: Int64, keys: TicketKeys) throws(CredentialFault) -> AuthID {
        guard prefix == Self.loginPrefix else { throw CredentialFault("ticket with invalid prefix") }
        let (age, isHuge) = now.subtractingReportingOverflow(time)
        guard !isHuge, age <= Self.validAge.upperBound else { throw CredentialFault("invalid ticket - expired") }
        guard age >= Self.validAge.lowerBound else {
            throw CredentialFault("invalid ticket - timestamp newer than expected")
        }
        guard keys.verify(signature, of: Array(signedText.utf8)) else {
            throw CredentialFault("ticket with invalid signature")
        }
        guard let user = AuthID(parsing: data), !user.isToken else {
            throw CredentialFault("ticket without a user")
        }
        return user
    }

    /// The ticket as scripts of a page may see it: the word `ticketinfo` in place of the signature.
    static func info(of ticket: String) -> String {
        guard let colons = ticket.lastRange(ofDoubleColon: ()) else { return "" }
        return "\(ticket[..<colons.upperBound])ticketinfo"
    }

    static func hexTime(_ time: Int64) -> String {
        let digits = String(max(0, time), radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    /// Reads 8 to 16 hexadecimal digits.
    static func time(_ text: some StringProtocol) -> Int64? {
        guard (8...16).contains(text.utf8.count), text.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit })
        else {
            return nil
        }
        return Int64(text, radix: 16)
    }
}

extension String {
    /// Where the last `::` stands.
    fileprivate func lastRange(ofDoubleColon: ()) -> Range<String.Index>? {
        var end = endIndex
        while let colon = utf8[..<end].lastIndex(of: UInt8(ascii: ":")) {
            if colon > startIndex {
                let before = utf8.index(before: colon)
                if utf8[before] == UInt8(ascii: ":") { return before..<utf8.index(after: colon) }
            }
            end = colon
        }
        return nil
    }
}

import BackupFormats
import CairnTestSupport
import Testing

@testable import AccessControl

@Suite("A ticket")
struct TicketTests {
    static let time: Int64 = 0x65A0_B1C2

    @Test("of OpenSSL is verified", arguments: ["ed25519", "rsa4096"])
    func foreign(kind: String) throws {
        let keys = try TicketKeys(pem: Fixtures.text("access/\(kind).key"))
        let text = try Fixtures.text("access/\(kind).ticket").filter { $0 != "\n" }
        let user = try Ticket(parsing: text).verifiedUser(at: Self.time, keys: keys)
        #expect(user.description == "u@pbs")
        // Both algorithms are deterministic, so ours is the same text.
        #expect(try Ticket.login(user, at: Self.time, keys: keys) == text)
    }

    @Test("has the form that clients look for")
    func form() throws {
        let user = try #require(AuthID(parsing: "u@pbs"))
        let text = try Ticket.login(user, at: 5, keys: TicketKeys())
        #expect(text.wholeMatch(of: /PBS:u@pbs:00000005::[A-Za-z0-9+\/]{86}/) != nil)
        #expect(Ticket.info(of: text) == "PBS:u@pbs:00000005::ticketinfo")
    }

    @Test("counts from 300 seconds before its time to 7200 after", arguments: [-301, -300, 0, 7200, 7201] as [Int64])
    func age(seconds: Int64) throws {
        let keys = TicketKeys()
        let text = try Ticket.login(try #require(AuthID(parsing: "u@pbs")), at: Self.time, keys: keys)
        let isValid = (try? Ticket(parsing: text).verifiedUser(at: Self.time + seconds, keys: keys)) != nil
        #expect(isValid == Ticket.validAge.contains(seconds))
    }

    @Test("is refused with any bit flipped")
    func flipped() throws {
        let keys = TicketKeys()
        let good = Array(try Ticket.login(try #require(AuthID(parsing: "u@pbs")), at: Self.time, keys: keys).utf8)
        for index in good.indices {
            for bit in 0..<8 {
                var bytes = good
                bytes[index] ^= 1 << bit
                let user = String(validating: bytes, as: UTF8.self).flatMap {
                    try? Ticket(parsing: $0).verifiedUser(at: Self.time, keys: keys)
                }
                #expect(user == nil, "bit \(bit) of byte \(index)")
            }
        }
    }

    @Test(
        "names its user exactly, whatever characters the name has",
        arguments: ["a%3Ab@pbs", "a%41@pbs", "ü@x@pbs", "a!b@pbs"])
    func names(name: String) throws {
        let keys = TicketKeys()
        let user = try #require(AuthID(parsing: name))
        let text = try Ticket.login(user, at: Self.time, keys: keys)
        #expect(text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
        #expect(try Ticket(parsing: text).verifiedUser(at: Self.time, keys: keys) == user)
    }

    @Test("that is partial, of a terminal, or of a token is no login ticket")
    func others() throws {
        let keys = TicketKeys()
        func sign(_ text: String) throws -> String {
            "\(text)::\(UnpaddedBase64.encode(try keys.sign(Array(text.utf8))))"
        }
        for head in ["PBSTERM:u@pbs:65A0B1C2", "PBS:!tfa!{\"totp\"%3Atrue}:65A0B1C2", "PBS:u@pbs!t:65A0B1C2"] {
            let ticket = try Ticket(parsing: sign(head))
            #expect(throws: CredentialFault.self) { try ticket.verifiedUser(at: Self.time, keys: keys) }
        }
    }

    @Test(
        "of another form is refused",
        arguments: [
            "", "::", "nonsense", "PBS:u@pbs:65A0B1C2", "PBS:u@pbs::AAAA", "PBS:u@pbs:1::AAAA",
            "PBS:a:b:65A0B1C2::AAAA",
        ])
    func malformed(text: String) { #expect(throws: CredentialFault.self) { try Ticket(parsing: text) } }
}

@Suite("A CSRF token")
struct CSRFTests {
    static let secret = CSRFSecret(Array(0..<64))
    static let time: Int64 = 0x65A0_B1C2

    @Test("is the HMAC-SHA3-256 of time and user")
    func vector() throws {
        let user = try #require(AuthID(parsing: "u@pbs"))
        // Made with Python's hmac and hashlib.
        #expect(Self.secret.token(for: user, at: Self.time) == "65A0B1C2:/DkxwJqqbMbUzKP99A9w3lS4nBewb9Xtdesa7Au+Qnw")
        try Self.secret.verify("65A0B1C2:hEB9GdnJs6vLOgFWzYrBKfx/B3zuIRFpHtug7Yu8HVM", of: user, at: Self.time)
    }

    @Test("counts for its user, in its time and unchanged")
    func rules() throws {
        let user = try #require(AuthID(parsing: "u@pbs"))
        let other = try #require(AuthID(parsing: "v@pbs"))
        let token = Self.secret.token(for: user, at: Self.time)
        for age in [-300, 0, 7200] as [Int64] { try Self.secret.verify(token, of: user, at: Self.time + age) }
        for age in [-301, 7201] as [Int64] {
            #expect(throws: CredentialFault.self) { try Self.secret.verify(token, of: user, at: Self.time + age) }
        }
        #expect(throws: CredentialFault.self) { try Self.secret.verify(token, of: other, at: Self.time) }
        for bad in ["", "x", "00000000:AAAA", token + "A", token + ":", "65A0B1C3" + token.dropFirst(8)] {
            #expect(throws: CredentialFault.self) { try Self.secret.verify(bad, of: user, at: Self.time) }
        }
    }
}

@Suite("Base64 without padding")
struct Base64Tests {
    @Test("has one text for each value")
    func strict() {
        var random = SeededRandom(seed: 7)
        for count in 0..<70 {
            let bytes = random.bytes(count)
            #expect(UnpaddedBase64.decode(UnpaddedBase64.encode(bytes)) == bytes)
        }
        #expect(UnpaddedBase64.encode(Array("any carnal pleas".utf8)) == "YW55IGNhcm5hbCBwbGVhcw")
        for bad in ["A", "AB", "AAB", "AA==", "A A", "AAAAA", "A-_A"] {
            #expect(UnpaddedBase64.decode(bad) == nil, "\(bad)")
        }
    }
}

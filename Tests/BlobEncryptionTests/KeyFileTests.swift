import BackupFormats
import BlobEncryption
import CairnTestSupport
import Testing

@Suite("A key file")
struct KeyFileTests {
    @Test(
        "of the reference client opens",
        arguments: [
            ("enc-none", nil), ("enc-scrypt", "scrypt-pass-1"), ("enc-pbkdf2", "pbkdf2-pass-1"),
        ])
    func fixtures(name: String, passphrase: String?) throws {
        let bytes = try Fixtures.bytes("pbs/keys/\(name).json")
        let file = try KeyFile(parsing: bytes)
        #expect(file.needsPassphrase == (passphrase != nil))
        let key = try file.open(passphrase: passphrase.map { Array($0.utf8) })
        #expect(key.fingerprint == file.fingerprint)
        #expect(file.encoded == bytes, "written again with the same bytes")
        let shown = try JSONValue(parsing: Fixtures.bytes("pbs/keys/\(name).show.json"))
        #expect(shown["fingerprint"]?.stringValue == key.fingerprint.description)
    }

    @Test("says how its passphrase was remembered")
    func hint() throws {
        let file = try KeyFile(parsing: Fixtures.bytes("pbs/keys/enc-scrypt.json"))
        #expect(file.hint == "scrypt-pass-1 is the passphrase")
        let failure = try #require(throws: BackupFailure.self) { try file.open(passphrase: nil) }
        #expect(failure.kind == .invalidInput)
        #expect(failure.hints == ["The key's hint is: scrypt-pass-1 is the passphrase"])
    }

    static let salt = Array<UInt8>(0..<32)

    @Test("wraps the key as the vector says")
    func scryptVector() throws {
        let file = try KeyFile(
            for: .sample, protection: .scrypt(passphrase: Array("test1".utf8)), created: 1_714_557_600, salt: Self.salt,
            iv: EncryptionKeyTests.iv)
        #expect(
            Base64.encode(file.data)
                == "AAECAwQFBgcICQoLDA0OD1gL3kErWkBBwwMg9RIqFt/ereCs6vwabdEFt+0E/Op+wtSh1obW/m7f3e44P19N5w==")
        #expect(file.created == "2024-05-01T10:00:00+00:00")
        #expect(try file.open(passphrase: Array("test1".utf8)).fingerprint == EncryptionKey.sample.fingerprint)
        let failure = try #require(throws: BackupFailure.self) { try file.open(passphrase: Array("test2".utf8)) }
        #expect(failure.summary == "The passphrase of the key is wrong")
    }

    @Test("derives keys as the vectors say")
    func derivations() throws {
        #expect(
            try KeyDerivation.standardScrypt(salt: Self.salt).key(for: Array("test1".utf8))
                == hex("d06c4c9ce7fd14c284c42d945fd1dbb6c6afc7ddea94561d719e51528f898624"))
        #expect(
            try KeyDerivation.standardPBKDF2(salt: Self.salt).key(for: Array("test1".utf8))
                == hex("2dc251d59aeb87340884a146e9e58326a04b63133c58c6ab8a7135cadd416546"))
        #expect(
            try KeyDerivation.standardScrypt(salt: []).key(for: Array("test".utf8))
                == hex("28cdb1a3bef39396c3860e00d448fe7a0efd8244486ab6feb30457681d31597e"))
    }

    @Test("keeps its time of creation and its key when the passphrase changes")
    func change() throws {
        let key = EncryptionKey.generate()
        let open = try KeyFile(for: key, protection: .none, created: 1_714_557_600)
        #expect(try open.open().fingerprint == key.fingerprint)
        let closed = try open.changingProtection(
            passphrase: nil, to: .pbkdf2(passphrase: Array("secret".utf8), hint: "s…"), modified: 1_714_557_661)
        let read = try KeyFile(parsing: closed.encoded)
        #expect(read == closed)
        #expect(read.created == "2024-05-01T10:00:00+00:00")
        #expect(read.modified == "2024-05-01T10:01:01+00:00")
        #expect(try read.open(passphrase: Array("secret".utf8)).fingerprint == key.fingerprint)
        #expect(try KeyFile(parsing: Array(read.prettyText.utf8)) == closed)
    }

    @Test("takes no passphrase below five bytes")
    func shortPassphrase() {
        #expect(throws: BackupFailure.self) {
            try KeyFile(for: .sample, protection: .scrypt(passphrase: Array("abcd".utf8)), created: 0)
        }
    }

    @Test("without a fingerprint opens, with a wrong one it does not")
    func fingerprints() throws {
        func json(_ more: String) -> [UInt8] {
            let data = Base64.encode(Array(0..<32))
            return Array(
                #"{"kdf":null,"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T12:00:00+02:00","data":"\#(data)"\#(more)}"#
                    .utf8)
        }
        #expect(try KeyFile(parsing: json("")).open().fingerprint == EncryptionKey.sample.fingerprint)
        let plain = EncryptionKey.sample.fingerprint.description.filter { $0 != ":" }
        #expect(try KeyFile(parsing: json(#","fingerprint":"\#(plain)""#)).open().bytes == Array(0..<32))
        let other = EncryptionKey.generate().fingerprint
        let failure = try #require(throws: BackupFailure.self) {
            try KeyFile(parsing: json(#","fingerprint":"\#(other)""#)).open()
        }
        #expect(failure.kind == .corruptData)
    }

    @Test(
        "cannot take all memory or time",
        arguments: [
            #"{"Scrypt":{"n":16777216,"r":8,"p":1,"salt":""}}"#,
            #"{"Scrypt":{"n":2,"r":1,"p":4611686018427387904,"salt":""}}"#,
            #"{"Scrypt":{"n":4611686018427387904,"r":8,"p":1,"salt":""}}"#,
            #"{"Scrypt":{"n":1000,"r":8,"p":1,"salt":""}}"#,
            #"{"Scrypt":{"n":0,"r":8,"p":1,"salt":""}}"#, #"{"Scrypt":{"n":16,"r":0,"p":1,"salt":""}}"#,
            #"{"Scrypt":{"n":16,"r":1,"p":0,"salt":""}}"#, #"{"PBKDF2":{"iter":0,"salt":""}}"#,
            #"{"PBKDF2":{"iter":9223372036854775807,"salt":""}}"#,
        ])
    func parameters(_ kdf: String) throws {
        let data = Base64.encode([UInt8](repeating: 0, count: 64))
        let file = try KeyFile(
            parsing: Array(
                #"{"kdf":\#(kdf),"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T10:00:00Z","data":"\#(data)"}"#
                    .utf8))
        let failure = try #require(throws: BackupFailure.self) { try file.open(passphrase: Array("secret".utf8)) }
        #expect(failure.kind == .invalidInput)
    }

    @Test(
        "is refused when it is wrong",
        arguments: [
            "", "[]", "{}", #"{"kdf":null}"#,
            #"{"kdf":null,"created":"yesterday","modified":"2024-05-01T10:00:00Z","data":""}"#,
            #"{"kdf":null,"created":"2024-05-01T10:00:00.5Z","modified":"2024-05-01T10:00:00Z","data":""}"#,
            #"{"kdf":null,"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T10:00:00Z","data":"?"}"#,
            #"{"kdf":{"scrypt":{}},"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T10:00:00Z","data":""}"#,
            #"{"kdf":{"PBKDF2":{"iter":-1,"salt":""}},"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T10:00:00Z","data":""}"#,
            #"{"kdf":null,"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T10:00:00Z","data":"","fingerprint":"1"}"#,
        ])
    func refused(_ text: String) {
        #expect(throws: FormatError.self) { try KeyFile(parsing: Array(text.utf8)) }
    }

    @Test("survives damage")
    func damage() throws {
        let good = try Fixtures.bytes("pbs/keys/enc-none.json")
        for count in 0..<good.count {
            #expect(throws: FormatError.self) { try KeyFile(parsing: Array(good.prefix(count))) }
        }
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for _ in 0..<1000 {
            var bad = good
            bad[Int.random(in: 0..<bad.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
            do {
                _ = try KeyFile(parsing: bad).open()
            } catch is FormatError {
                // Not a key file any more.
            } catch let failure as BackupFailure {
                #expect(failure.kind == .corruptData || failure.kind == .invalidInput, "seed \(seed)")
            }
        }
    }
}

import BackupFormats
import CairnTestSupport
import Testing

@Suite("A manifest")
struct ManifestTests {
    static func sample() throws -> Manifest {
        let snapshot = try #require(SnapshotName(parsing: "host/elsa/2020-06-26T13:56:05Z"))
        let (image, blob) = (try #require(ArchiveName("test1.img.fidx")), try #require(ArchiveName("abc.blob")))
        var manifest = Manifest(snapshot: snapshot)
        manifest.add(
            .init(
                name: image, cryptMode: .encrypt, size: 200,
                checksum: ChunkDigest(bytes: [UInt8](repeating: 1, count: 32))))
        manifest.add(
            .init(
                name: blob, cryptMode: .none, size: 200,
                checksum: ChunkDigest(bytes: [UInt8](repeating: 2, count: 32))))
        return manifest
    }

    @Test("has the canonical text that others sign")
    func canonical() throws {
        let (one, two) = (String(repeating: "01", count: 32), String(repeating: "02", count: 32))
        let expected =
            #"{"backup-id":"elsa","backup-time":1593179765,"backup-type":"host","files":[{"crypt-mode":"encrypt","csum":"\#(one)","filename":"test1.img.fidx","size":200},{"crypt-mode":"none","csum":"\#(two)","filename":"abc.blob","size":200}]}"#
        var manifest = try Self.sample()
        manifest.notes = "not signed"
        #expect(String(decoding: try manifest.signedBytes(), as: UTF8.self) == expected)
    }

    @Test(
        "of the reference client reads, and writes back the same text",
        arguments: [
            "host_plain_2024-06-01T00_00_00Z", "host_plain_2024-06-02T00_00_00Z", "host_enc_2024-06-01T00_00_00Z",
            "host_master_2024-06-01T00_00_00Z", "host_signed_2024-06-01T00_00_00Z",
        ])
    func fixture(_ name: String) throws {
        let json = try Fixtures.text("pbs/outputs/index.\(name).json")
        let manifest = try Manifest(parsing: Array(json.utf8))
        let written = String(decoding: manifest.encoded, as: UTF8.self)
        #expect(try JSONValue(parsing: written) == JSONValue(parsing: json).sorted())
        #expect(written == (try JSONValue(parsing: json)).sorted().prettyText)
        #expect(manifest.uploadStatistics != nil)
        #expect(manifest.file(.catalog)?.size ?? 0 > 0)
    }

    @Test("has a verify state after verification")
    func verifyState() throws {
        let json = try Fixtures.bytes("pbs/outputs/index.host_plain_2024-06-01.after-verify.json")
        let state = try #require(try Manifest(parsing: json).verifyState)
        #expect(state.outcome == .ok)
        #expect(try UPID(parsing: state.task).workerType.hasPrefix("verify"))
    }

    @Test("is pretty, sorted, and says that it is not signed")
    func pretty() throws {
        let manifest = Manifest(snapshot: try #require(SnapshotName(parsing: "vm/100/2024-06-01T00:00:00Z")))
        #expect(
            String(decoding: manifest.encoded, as: UTF8.self) == """
                {
                  "backup-id": "100",
                  "backup-time": 1717200000,
                  "backup-type": "vm",
                  "files": [],
                  "signature": null,
                  "unprotected": {}
                }
                """)
    }

    static func json(_ files: String, _ more: String = "") -> [UInt8] {
        Array(#"{"backup-type":"vm","backup-id":"1","backup-time":1717200000,"files":[\#(files)]\#(more)}"#.utf8)
    }
    static let csum = String(repeating: "ab", count: 32)

    @Test("of an old client lacks crypt modes and unprotected members")
    func oldClient() throws {
        let manifest = try Manifest(parsing: Self.json(#"{"filename":"a.img.fidx","size":1,"csum":"\#(Self.csum)"}"#))
        #expect(manifest.files.first?.cryptMode == CryptMode.none)
        #expect(manifest.unprotected.members.isEmpty)
        #expect(manifest.signature == nil)
        #expect(String(decoding: try manifest.signedBytes(), as: UTF8.self).contains(#""crypt-mode":"none""#))
    }

    @Test("keeps members that it does not know, outside of what is signed")
    func unknownMembers() throws {
        let file = #"{"filename":"a.img.fidx","size":1,"csum":"\#(Self.csum)","later":[1.50]}"#
        let manifest = try Manifest(parsing: Self.json(file, #","future":{"x":null},"unprotected":{"mine":1e2}"#))
        let again = try Manifest(parsing: manifest.encoded)
        #expect(again == manifest)
        let text = String(decoding: manifest.encoded, as: UTF8.self)
        #expect(text.contains("\"future\"") && text.contains("1.50") && text.contains("1e2"))
        let signed = String(decoding: try manifest.signedBytes(), as: UTF8.self)
        #expect(!signed.contains("future") && !signed.contains("later"))
    }

    @Test("may differ in its unprotected part only")
    func differences() throws {
        let manifest = try Self.sample()
        var noted = manifest
        noted.notes = "x"
        noted.verifyState = .init(outcome: .failed, task: "UPID:")
        noted.uploadStatistics = .init(count: 1, size: 2, compressedSize: 3, duplicates: 4)
        #expect(noted.differsOnlyInUnprotected(from: manifest))
        #expect(try Manifest(parsing: noted.encoded).uploadStatistics?.duplicates == 4)
        var other = manifest
        other.signature = Self.csum
        #expect(!other.differsOnlyInUnprotected(from: manifest))
        noted.notes = nil
        #expect(noted.unprotected["notes"] == nil)
    }

    @Test("tolerates an empty checksum of a blob, not of an index")
    func emptyChecksum() throws {
        let blob = try Manifest(parsing: Self.json(#"{"filename":"a.blob","size":12,"csum":""}"#))
        #expect(blob.files.first?.checksum == nil)
        #expect(throws: FormatError.self) {
            try Manifest(parsing: Self.json(#"{"filename":"a.img.fidx","size":12,"csum":""}"#))
        }
    }

    @Test(
        "is refused when it is wrong",
        arguments: [
            "", "[]", "{}", #"{"backup-type":"vm"}"#,
            #"{"backup-type":"pc","backup-id":"1","backup-time":1,"files":[]}"#,
            #"{"backup-type":"vm","backup-id":"../1","backup-time":1,"files":[]}"#,
            #"{"backup-type":"vm","backup-id":"1","backup-time":0,"files":[]}"#,
            #"{"backup-type":"vm","backup-id":"1","backup-time":1.5,"files":[]}"#,
            #"{"backup-type":"vm","backup-id":"1","backup-time":1,"files":{}}"#,
            #"{"backup-type":"vm","backup-id":"1","backup-time":1,"files":[],"signature":"00"}"#,
            #"{"backup-type":"vm","backup-id":"1","backup-time":1,"files":[],"unprotected":[]}"#,
            String(decoding: json(#"{"filename":"../a.blob","size":1,"csum":"\#(csum)"}"#), as: UTF8.self),
            String(decoding: json(#"{"filename":"a.blob","size":-1,"csum":"\#(csum)"}"#), as: UTF8.self),
            String(decoding: json(#"{"filename":"a.blob","size":null,"csum":"\#(csum)"}"#), as: UTF8.self),
            String(decoding: json(#"{"filename":"a.blob","size":1,"csum":null}"#), as: UTF8.self),
            String(
                decoding: json(#"{"filename":"a.blob","size":1,"csum":"\#(csum)","crypt-mode":null}"#), as: UTF8.self),
            String(decoding: json(#"{"filename":"index.json.blob","size":1,"csum":"\#(csum)"}"#), as: UTF8.self),
            String(
                decoding: json(
                    #"{"filename":"a.blob","size":1,"csum":"\#(csum)"},{"filename":"a.blob","size":1,"csum":"\#(csum)"}"#
                ),
                as: UTF8.self),
        ])
    func refused(_ text: String) {
        #expect(throws: FormatError.self) { try Manifest(parsing: Array(text.utf8)) }
    }

    @Test("lists a bounded number of files")
    func tooMany() {
        let files = (0...Manifest.maxFileCount).map { #"{"filename":"f\#($0).blob","size":1,"csum":""}"# }
        #expect(throws: FormatError.tooLong(16_385, limit: 16_384, offset: 0)) {
            try Manifest(parsing: Self.json(files.joined(separator: ",")))
        }
    }

    @Test("survives damage")
    func damage() throws {
        let json = try Self.sample().encoded
        expectOnlyFormatErrors(from: json, cuts: 0..<json.count) { _ = try Manifest(parsing: $0) }
    }
}

import BackupFormats
import CairnTestSupport
import Testing

@Suite("Base64")
struct Base64Tests {
    @Test(
        "has the known answers",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func vectors(plain: String, text: String) {
        #expect(Base64.encode(Array(plain.utf8)) == text)
        #expect(Base64.decode(text) == Array(plain.utf8))
    }

    @Test("comes back the same", arguments: 0..<40)
    func roundTrip(count: Int) {
        var random = SeededRandom(seed: UInt64(count))
        let bytes = random.bytes(count)
        #expect(Base64.decode(Base64.encode(bytes)) == bytes)
    }

    @Test(
        "is refused in any other spelling",
        arguments: [
            "Zg", "Zg=", "Zh==", "Zm9=", "=m9v", "Zg==Zg==", "Zm9v\n", "Zm-v", "====", "Z===", "Zm=v",
        ])
    func refused(_ text: String) {
        #expect(Base64.decode(text) == nil)
    }
}

@Suite("Canonical JSON")
struct CanonicalJSONTests {
    @Test("is sorted, without blanks, escaped in one way")
    func canonical() throws {
        let value = try JSONValue(
            parsing: #"{ "b": [1, true, "\u001f\u007f\/é\"\\\b\t\n\f\r"], "a": {"Z": 1.50, "é": false, "z": -3} }"#)
        #expect(
            String(decoding: try value.canonicalBytes(), as: UTF8.self)
                == "{\"a\":{\"Z\":1.50,\"z\":-3,\"é\":false},\"b\":[1,true,\"\\u001f\u{7f}/é\\\"\\\\\\b\\t\\n\\f\\r\"]}"
        )
    }

    @Test("has no null")
    func noNull() throws {
        let value = try JSONValue(parsing: #"{"a":[{"b":null}]}"#)
        #expect(throws: FormatError.self) { try value.canonicalBytes() }
    }

    @Test("survives damage")
    func damage() {
        let text = Array(#"{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00",true,false,null],"b":{}}"#.utf8)
        expectOnlyFormatErrors(from: text, rounds: 3000, cuts: 0..<text.count) { _ = try JSONValue(parsing: $0) }
        #expect(throws: FormatError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
    }
}

@Suite("A name")
struct NameTests {
    @Test(
        "of a snapshot has one text form",
        arguments: [
            "host/elsa/2020-06-26T13:56:05Z", "vm/100/1970-01-01T00:00:01Z", "ct/a.b-c_d/2000-02-29T23:59:59Z",
            "host/x/9999-12-31T23:59:59Z",
        ])
    func snapshots(_ text: String) throws {
        #expect(try #require(SnapshotName(parsing: text)).description == text)
    }

    @Test(
        "of a snapshot is refused otherwise",
        arguments: [
            "", "host/elsa", "host//2020-06-26T13:56:05Z", "pc/x/2020-06-26T13:56:05Z", "host/x/1970-01-01T00:00:00Z",
            "host/x/2023-02-29T00:00:00Z", "host/x/2020-06-26t13:56:05Z", "host/x/2020-06-26T13:56:05+00:00",
            "host/-x/2020-06-26T13:56:05Z", "host/a/b/2020-06-26T13:56:05Z",
        ])
    func badSnapshots(_ text: String) {
        #expect(SnapshotName(parsing: text) == nil)
    }

    @Test(
        "of an archive has a known ending and nothing of a path",
        arguments: [
            ("root.pxar.didx", ArchiveName.Kind.dynamicIndex), ("drive-scsi0.img.fidx", .fixedIndex),
            ("qemu-server.conf.blob", .blob), ("a/b.blob", nil), ("../x.blob", nil), (".blob", nil), ("blob", nil),
            ("x.tmp_fidx", nil), ("", nil),
        ])
    func archives(text: String, kind: ArchiveName.Kind?) {
        #expect(ArchiveName(text)?.kind == kind)
    }

    @Test("of a namespace has 7 components and 256 characters at most")
    func namespaces() throws {
        #expect(try Namespace(parsing: "a/b/c/d/e/f/g").depth == 7)
        #expect(try Namespace(parsing: "").isRoot)
        #expect(try Namespace(parsing: String(repeating: "a", count: 256)).depth == 1)
        for text in ["a/b/c/d/e/f/g/h", String(repeating: "a", count: 257), "a//b", "/a", "a/", "a/..", "a b"] {
            #expect(throws: FormatError.self) { try Namespace(parsing: text) }
        }
    }
}

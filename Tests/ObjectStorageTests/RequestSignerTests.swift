import BackupFormats
import ObjectStorage
import Testing

/// The examples of "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
@Suite("A signed request")
struct RequestSignerTests {
    private let signer = RequestSigner(
        accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region: "us-east-1")
    private let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private func signature(
        _ method: String, _ path: String, _ query: [(String, String)] = [], headers: [(String, String)] = [],
        payloadHash: String
    ) -> Substring? {
        let common = [
            ("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", payloadHash),
            ("x-amz-date", "20130524T000000Z"),
        ]
        return signer.authorization(
            method: method, path: path, query: query, headers: common + headers, payloadHash: payloadHash,
            timestamp: "20130524T000000Z"
        ).split(separator: "Signature=").last
    }

    @Test("for a part of an object has the published signature")
    func get() {
        #expect(
            signature("GET", "/test.txt", headers: [("range", "bytes=0-9")], payloadHash: empty)
                == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    }

    @Test("that stores an object has the published signature")
    func put() {
        let hash = RequestSigner.hash(Array("Welcome to Amazon S3.".utf8))
        #expect(hash == "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")
        #expect(
            signature(
                "PUT", "/test%24file.text",
                headers: [
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ], payloadHash: hash) == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    }

    @Test("for a subresource and for a listing has the published signature")
    func query() {
        #expect(
            signature("GET", "/", [("lifecycle", "")], payloadHash: empty)
                == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
        #expect(
            signature("GET", "/", [("prefix", "J"), ("max-keys", "2")], payloadHash: empty)
                == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
    }

    @Test("names its time, its scope and its headers")
    func shape() {
        #expect(RequestSigner.timestamp(1_369_353_600) == "20130524T000000Z")
        let text = signer.authorization(
            method: "GET", path: "/", query: [], headers: [("x-amz-date", "20130524T000000Z"), ("host", "h")],
            payloadHash: empty, timestamp: "20130524T000000Z")
        #expect(
            text.hasPrefix(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                    + "SignedHeaders=host;x-amz-date,Signature="))
    }
}

@Suite("Percent coding")
struct PercentCodingTests {
    @Test("keeps what needs no coding, and codes all else by its bytes")
    func encodes() {
        #expect(PercentCoding.encode("aZ09-._~") == "aZ09-._~")
        #expect(PercentCoding.encode("a b/+ü%") == "a%20b%2F%2B%C3%BC%25")
        #expect(PercentCoding.encode("a/b", keeping: "/") == "a/b")
    }

    @Test("reads back what it wrote, for every character")
    func roundTrip() {
        let text = String(String.UnicodeScalarView((0..<0x250).compactMap { Unicode.Scalar($0) }))
        #expect(PercentCoding.decode(PercentCoding.encode(text)) == text)
        #expect(PercentCoding.decode("%c3%BC") == "ü")
    }

    @Test("refuses half codes and what is not UTF-8", arguments: ["%", "a%2", "%zz", "%+1", "%ff"])
    func refuses(_ text: String) {
        #expect(PercentCoding.decode(text) == nil)
    }
}

@Suite("The length of the parts of an upload")
struct S3PartSizeTests {
    @Test(
        "is the shortest that lets the stream fit",
        arguments: [
            (0, 5), (50_000_000_000, 5), (52_428_800_000, 5), (52_428_800_001, 6), (1 << 40, 105), (5 << 40, 525),
        ] as [(UInt64, Int)])
    func fits(_ byteCount: UInt64, _ mebibytes: Int) {
        let part = S3PartSize.bytes(for: byteCount)
        #expect(part == mebibytes << 20)
        #expect(UInt64(part) * UInt64(S3Limits.partCount) >= byteCount)
    }
}

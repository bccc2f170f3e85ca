import BackupFormats
import BackupProtocol
import Testing

@Suite("A call of the backup protocol")
struct CallTests {
    static let digest = ChunkDigest(hashing: [7])
    static let calls: [BackupCall] = [
        .directory, .openDynamicIndex(name: "a.pxar.didx"), .openFixedIndex(name: "d.img.fidx", size: 5, reuse: nil),
        .openFixedIndex(name: "d.img.fidx", size: 5, reuse: "zz"),
        .uploadChunk(.dynamic, ChunkUpload(writer: 1, digest: digest, size: 5, encodedSize: 17)),
        .uploadChunk(.fixed, ChunkUpload(writer: 256, digest: digest, size: 16 << 20, encodedSize: 13)),
        .append(.dynamic, ChunkAppend(writer: 1, digests: [digest], offsets: [0])),
        .append(.fixed, ChunkAppend(writer: 1, digests: [], offsets: [])),
        .close(.dynamic, IndexClose(writer: 1, chunkCount: 1, size: 9, checksum: "ab")),
        .close(.fixed, IndexClose(writer: 1, chunkCount: 0, size: 0, checksum: "")),
        .uploadBlob(name: "x.conf.blob", encodedSize: 12), .previousBackupTime, .previous(name: "index.json.blob"),
        .finish, .speedtest,
    ]

    @Test("arrives as it was sent", arguments: calls)
    func roundTrip(_ call: BackupCall) throws {
        let request = BackupRequest(call, data: [1, 2])
        let endpoint = try #require(BackupEndpoint(request.head))
        #expect(try endpoint.call(request.head, body: request.body) == call)
    }

    @Test("looks as the recorded client's")
    func recorded() {
        let upload = BackupRequest(
            .uploadChunk(.dynamic, ChunkUpload(writer: 2, digest: .zero, size: 10, encodedSize: 20)), data: [1])
        let zero = String(repeating: "0", count: 64)
        #expect(upload.head.query == "digest=\(zero)&encoded-size=20&size=10&wid=2")
        #expect(upload.head.contentType == "application/octet-stream")
        let append = BackupRequest(.append(.dynamic, ChunkAppend(writer: 2, digests: [.zero], offsets: [0])))
        #expect(
            String(decoding: append.body, as: UTF8.self) == #"{"digest-list":["\#(zero)"],"offset-list":[0],"wid":2}"#)
    }

    @Test("is found whatever slashes its path has, and not under another method")
    func paths() {
        #expect(BackupEndpoint(BackupRequestHead(method: "POST", target: "//blob/?x=1")) == .uploadBlob)
        #expect(BackupEndpoint(BackupRequestHead(method: "GET", target: "/")) == .directory)
        #expect(BackupEndpoint(BackupRequestHead(method: "PUT", target: "/blob")) == nil)
        #expect(!RequestPath.isAllowed(BackupRequestHead(method: "GET", target: "/./previous").path))
    }

    @Test(
        "of a reader arrives as it was sent",
        arguments: [ReaderCall.directory, .download(name: "a.blob"), .chunk(digest), .speedtest])
    func reader(_ call: ReaderCall) throws {
        let request = BackupRequest(call)
        #expect(try ReaderCall(request.head, body: []) == call)
    }
}

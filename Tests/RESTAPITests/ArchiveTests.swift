import AccessControl
import BackupFormats
import BlobCoding
import CairnTestSupport
import Crypto
import Foundation
import Testing

/// Folders and files of the archives in the original's datastore.
@Suite("Archives over REST")
struct ArchiveTests {
    static func ask(
        _ path: String, _ filePath: String, _ more: [(String, String)] = [], in snapshot: [(String, String)]? = nil
    ) async throws -> Reply {
        let (world, caller) = try await RecordedAnswerTests.shared.value
        return try await world.send(
            "GET", "/admin/datastore/fix/\(path)", as: caller,
            query: (snapshot ?? RecordedAnswerTests.plain(1)) + [("filepath", filePath)] + more)
    }

    static func base64(_ text: String) -> String { Base64.encode(Array(text.utf8)) }

    @Test("are listed as the original lists them")
    func recorded() async throws {
        #expect(try await Self.ask("catalog", "/").json.sorted() == RecordedAnswerTests.recorded("GET-catalog-root"))
        #expect(try await Self.ask("catalog", "root").json.sorted() == RecordedAnswerTests.recorded("GET-catalog-root"))
        #expect(
            try await Self.ask("catalog", Self.base64("tree.pxar.didx")).json.sorted()
                == RecordedAnswerTests.recorded("GET-catalog-dir"))
    }

    @Test("tell size and time of files, and the kind of all else")
    func entries() async throws {
        let sizes = try await Self.ask("catalog", Self.base64("/tree.pxar.didx/sizes"))
        let page = try #require(sizes.data.arrayValue?.first { $0["text"] == "page" })
        #expect(page["size"] == 4096 && page["leaf"] == true && page["type"] == "f")
        #expect(page["filepath"] == .string(Self.base64("/tree.pxar.didx/sizes/page")))
        let special = try await Self.ask("catalog", Self.base64("tree.pxar.didx/special"))
        #expect(Set((special.data.arrayValue ?? []).compactMap { $0["type"]?.stringValue }) == ["p", "c", "b", "s"])
    }

    @Test("are looked into by name as well")
    func archiveName() async throws {
        let reply = try await Self.ask("catalog", Self.base64("sizes"), [("archive-name", "tree.pxar.didx")])
        #expect(reply.data.arrayValue?.isEmpty == false)
    }

    @Test("give single files, hard links too")
    func files() async throws {
        let page = try await Self.ask("pxar-file-download", Self.base64("tree.pxar.didx/sizes/page"))
        #expect(page.bytes.count == 4096 && page.header("content-type") == "application/octet-stream")
        let sums = try Fixtures.text("pbs/outputs/tree.sha256").split(separator: "\n").map { line in
            let parts = line.split(separator: " ", maxSplits: 1)
            return (path: parts[1].drop { $0 == " " || $0 == "*" }, sum: parts[0])
        }
        let hard = sums.filter { $0.path.contains("/hard/") || $0.path.hasPrefix("hard/") || $0.path.contains("hard/") }
        #expect(hard.count >= 2)
        for (path, sum) in hard {
            let inner = path.split(separator: "/").drop { $0 == "." || $0 == "tree" }.joined(separator: "/")
            let reply = try await Self.ask("pxar-file-download", Self.base64("tree.pxar.didx/\(inner)"))
            #expect(Hex.encode(Array(SHA256.hash(data: reply.bytes))) == sum, "\(inner): \(reply.status)")
        }
    }

    @Test("give a folder as a ZIP archive that unzip tools read")
    func zip() async throws {
        let reply = try await Self.ask("pxar-file-download", Self.base64("tree.pxar.didx/sizes"))
        #expect(reply.header("content-type") == "application/zip")
        let folder = try TemporaryFolder()
        try Data(reply.bytes).write(to: URL(fileURLWithPath: folder.path + "/a.zip"))
        let listing = try python(
            """
            import zipfile, sys, hashlib
            with zipfile.ZipFile(sys.argv[1]) as z:
                assert z.testzip() is None
                for i in z.infolist():
                    print(i.filename, i.file_size, hashlib.sha256(z.read(i)).hexdigest()[:8] if not i.is_dir() else "-")
            """, folder.path + "/a.zip")
        let names = listing.split(separator: "\n").map { String($0.split(separator: " ")[0]) }
        #expect(names.first == "sizes/" && names.contains("sizes/one-mib") && names.contains("sizes/sparse-8m"))
        #expect(listing.contains("sizes/sparse-8m 8388608"))
        #expect(listing.contains("sizes/hundred 100"))
    }

    @Test("give a folder as tar, with links, devices and names of all kinds")
    func tar() async throws {
        let folder = try TemporaryFolder()
        for name in ["special", "names", "links", "hard"] {
            let reply = try await Self.ask("pxar-file-download", Self.base64("tree.pxar.didx/\(name)"), [("tar", "1")])
            #expect(reply.header("content-type") == "application/zstd")
            let plain = try BlobDecoder().decode(compressedBlob(reply.bytes), limit: BlobLimits.maxContent)
            try Data(plain).write(to: URL(fileURLWithPath: folder.path + "/\(name).tar"))
            let listing = try python(
                """
                import tarfile, sys
                with tarfile.open(sys.argv[1]) as t:
                    for m in t: print(m.type.decode(), len(m.name), m.size, m.mode, m.linkname.encode("utf-8", "replace")[:20])
                """, folder.path + "/\(name).tar")
            let types = Set(listing.split(separator: "\n").map { $0.prefix(1) })
            switch name {
            case "special": #expect(types == ["5", "3", "4", "6"])
            case "links": #expect(types == ["5", "2"])
            case "hard": #expect(types.isSuperset(of: ["5", "0", "1"]))
            default: #expect(listing.split(separator: "\n").count > 5, "\(listing)")
            }
        }
    }

    @Test("are refused where they are encrypted, no archives, or not there")
    func refusals() async throws {
        let encrypted = [("backup-type", "host"), ("backup-id", "enc"), ("backup-time", "1717200000")]
        for path in ["catalog", "pxar-file-download"] {
            let reply = try await Self.ask(path, Self.base64("small.pxar.didx"), in: encrypted)
            #expect(reply.status == 400 && reply.text.contains("encrypted"), "\(path): \(reply.text)")
            let missing = try await Self.ask(path, Self.base64("tree.pxar.didx/no/where"))
            #expect(missing.status == 400, "\(missing.text)")
            #expect(try await Self.ask(path, "%%%").status == 400)
        }
        #expect(try await Self.ask("pxar-file-download", Self.base64("disk.img.fidx/a")).status == 400)
        #expect(try await Self.ask("pxar-file-download", Self.base64("tree.pxar.didx/special/fifo")).status == 400)
    }

    /// The frames as the blob of a chunk, for the decoder.
    private func compressedBlob(_ frames: [UInt8]) -> [UInt8] {
        var blob: [UInt8] = []
        DataBlobHeader(compressed: true, checksum: CRC32.checksum(of: frames)).append(to: &blob)
        return blob + frames
    }
}

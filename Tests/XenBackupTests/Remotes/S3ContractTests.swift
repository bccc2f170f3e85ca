import BackupFormats
import CairnTestSupport
import ObjectStorage
import Platform
import Synchronization
import Testing
import XenBackup

/// The store that the surroundings offer: `CAIRN_S3=http://key:secret@127.0.0.1:5000/bucket`, or `https`.
enum S3UnderTest {
    static let address = Environment.current["CAIRN_S3"]
    /// Whether it looks at signatures; not every stand-in does.
    static let checksSignatures = Environment.current["CAIRN_S3_CHECKS"] != nil

    static func settings() throws -> S3Settings {
        let address = address ?? ""
        let isTLS = address.hasPrefix("https:")
        let url = try RemoteURL(parsing: (isTLS ? "s3" : "s3+http") + address.drop { $0 != ":" })
        guard case .s3(let place) = url.place else { throw BackupFailure(.invalidInput, "CAIRN_S3 is no store") }
        return S3Settings(
            isTLS: isTLS, host: place.host, bucket: place.bucket, accessKey: place.accessKey,
            secretKey: place.secretKey, allowsAnyCertificate: isTLS)
    }

    static func open(_ folder: String) async throws -> S3Remote {
        try await S3Remote.open(try settings(), folder: folder, isImmutable: false, time: .system)
    }
}

@Suite(
    "S3Contract: a remote in a bucket",
    .enabled(if: S3UnderTest.address != nil, "skipped: needs an S3 endpoint, see Tests/Program/objects"))
struct S3ContractTests {
    private let run = String(UInt64.random(in: 0...(.max)), radix: 36)

    @Test("keeps the contract", arguments: RemoteContract.all)
    func contract(_ part: RemoteContract) async throws {
        let remote = try await S3UnderTest.open("contract/\(run)")
        try await part.check(remote, "contract")
        try await remote.removeTree("contract")
        await remote.close()
    }

    @Test("keeps the contract at the root of its bucket")
    func root() async throws {
        let remote = try await S3UnderTest.open("")
        for part in RemoteContract.all.prefix(3) {
            try await part.check(remote, "root-\(run)")
            try await remote.removeTree("root-\(run)")
        }
        await remote.close()
    }

    @Test("lists and removes more objects than one page holds")
    func pages() async throws {
        let remote = try await S3UnderTest.open("pages/\(run)")
        let names = (0..<1105).map { "many/\($0)" }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (number, name) in names.enumerated() {
                if number >= 8 { try await group.next() }
                group.addTask { try await remote.write(name, [], .replace) }
            }
            try await group.waitForAll()
        }
        #expect(try await remote.list("many").count == 1105)
        try await remote.removeTree("many")
        await expectFailure(.notFound) { try await remote.list("many") }
        await remote.close()
    }

    @Test("fails a stream that is longer than its parts can hold, and leaves no parts")
    func tooLong() async throws {
        let settings = try S3UnderTest.settings()
        let client = S3Client(settings, time: .system)
        let source = RaggedSource([UInt8](repeating: 1, count: 12 << 20), seed: 1, failsAt: 11 << 20)
        await expectFailure(.corruptData) {
            try await client.put("parts/\(run)", from: source, maxByteCount: nil, isNew: true)
        }
        #expect(try await client.list(prefix: "parts/\(run)", delimiter: nil).objects.isEmpty)
        #expect(try await client.unfinishedUploads(prefix: "parts/\(run)").isEmpty)
        await client.close()
    }

    @Test("sends parts that are too long for the memory from a file")
    func scratch() async throws {
        let folder = try TemporaryFolder()
        let client = S3Client(
            try S3UnderTest.settings(), time: .system, scratchFolder: "\(folder.path)/scratch", partInMemory: 1 << 20)
        var random = SeededRandom(seed: 9)
        for count in [0, 4_000_000, 10 << 20, 12_000_003] {
            let bytes = random.bytes(count)
            let key = "scratch/\(run)/\(count)"
            let written = try await client.put(key, from: RaggedSource(bytes, seed: 10), maxByteCount: nil, isNew: true)
            #expect(written == UInt64(count))
            #expect(try await collect(try await client.stream(key)) == bytes)
            try await client.delete(key)
        }
        #expect(try FileSystem.list("\(folder.path)/scratch") == [])
        await client.close()
    }

    @Test("says what is wrong with its settings")
    func wrongSettings() async throws {
        var settings = try S3UnderTest.settings()
        settings.bucket = "no-such-bucket-\(run.prefix(10))"
        await #expect {
            _ = try await S3Remote.open(settings, folder: "", isImmutable: false, time: .system)
        } throws: { error in
            let failure = error as? BackupFailure
            return failure?.kind == .noSuchObject && failure?.hints.first?.contains(settings.bucket) == true
        }
        settings = try S3UnderTest.settings()
        settings.host = "127.0.0.1:1"
        await expectFailure(.unavailable) {
            _ = try await S3Remote.open(settings, folder: "", isImmutable: false, time: .system)
        }
    }

    /// Left there for another client to look at, see Tests/Program/objects.
    @Test("leaves a witness that other clients read")
    func witness() async throws {
        let remote = try await S3UnderTest.open("witness")
        try await remote.removeTree("streams")
        var random = SeededRandom(seed: 7)
        for count in [0, 1, 5 << 20, 11_000_003] {
            let bytes = random.bytes(count)
            let name = "streams/ü \(count) \(RequestSigner.hash(bytes))"
            _ = try await remote.write(name, from: RaggedSource(bytes, seed: 8), maxByteCount: nil, .new)
        }
        await remote.close()
    }

    @Test(
        "is refused with a wrong secret",
        .enabled(if: S3UnderTest.checksSignatures, "skipped: needs a store that checks signatures (make test-ceph)"))
    func wrongSecret() async throws {
        var settings = try S3UnderTest.settings()
        settings.secretKey += "x"
        await expectFailure(.notAuthenticated) {
            _ = try await S3Remote.open(settings, folder: "", isImmutable: false, time: .system)
        }
        settings = try S3UnderTest.settings()
        let early = TimeSource { TimeSource.system.nanoseconds() - 3_600_000_000_000 }
        await #expect {
            _ = try await S3Remote.open(settings, folder: "", isImmutable: false, time: early)
        } throws: { error in
            (error as? BackupFailure)?.hints.first?.contains("clocks") == true
        }
    }

    @Test(
        "with a certificate of nobody is refused unless that is allowed",
        .enabled(if: S3UnderTest.address?.hasPrefix("https:") == true, "skipped: needs an S3 endpoint with TLS"))
    func certificate() async throws {
        var settings = try S3UnderTest.settings()
        await (try await S3Remote.open(settings, folder: "", isImmutable: false, time: .system)).close()
        settings.allowsAnyCertificate = false
        await #expect {
            _ = try await S3Remote.open(settings, folder: "", isImmutable: false, time: .system)
        } throws: { error in
            "\(error)".contains("the certificate of \(settings.host) is not accepted")
        }
    }

    @Test("has no room to tell, locks among its own users, and no files that change in place")
    func differences() async throws {
        let remotes = [
            try await S3UnderTest.open("differences/\(run)"), try await S3UnderTest.open("differences/\(run)"),
        ]
        #expect(try await remotes[0].info() == [:])
        #expect(!remotes[0].capabilities.isFileSystem)
        #expect(!remotes[0].capabilities.isImmutable)
        let lock = try await remotes[0].lock("a", patience: .zero)
        let other = try await remotes[1].lock("b", patience: .zero)
        await expectFailure(.conflict) { _ = try await remotes[1].lock("a", patience: .zero) }
        async let waiting = remotes[1].lock("a", patience: .seconds(120))
        await lock.release()
        #expect(!lock.isHeld)
        let next = try await waiting
        #expect(next.isHeld && other.isHeld)
        for lock in [next, other] { await lock.release() }
        await expectFailure(.unsupported) { _ = try await remotes[0].open("a", .create) }
        for remote in remotes { await remote.close() }
    }
}

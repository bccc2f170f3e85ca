import BackupFormats
import CairnTestSupport
import Testing
import XenBackup

/// What every remote keeps, whatever stores it. Each check works in a folder of its own.
struct RemoteContract: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let check: @Sendable (_ remote: any RemoteFiles, _ folder: String) async throws -> Void

    init(_ name: String, _ check: @escaping @Sendable (any RemoteFiles, String) async throws -> Void) {
        testDescription = name
        self.check = check
    }

    static let all: [RemoteContract] = [
        RemoteContract("gives back what was written, whole, in parts and as a stream") { remote, folder in
            var random = SeededRandom(seed: 1)
            let bytes = random.bytes(3_000_001)
            try await remote.write("\(folder)/a/b.bin", bytes, .new)
            #expect(try await remote.read("\(folder)/a/b.bin", limit: bytes.count) == bytes)
            #expect(try await remote.size(of: "/\(folder)/a//b.bin/") == 3_000_001)
            #expect(
                try await remote.read("\(folder)/a/b.bin", at: 1_000_000, count: 7)
                    == Array(bytes[1_000_000..<1_000_007]))
            #expect(try await remote.read("\(folder)/a/b.bin", at: 3_000_000, count: 100) == [bytes[3_000_000]])
            #expect(try await remote.read("\(folder)/a/b.bin", at: 3_000_001, count: 100) == [])
            #expect(try await remote.read("\(folder)/a/b.bin", at: 9_000_001, count: 100) == [])
            #expect(try await collect(try await remote.stream("\(folder)/a/b.bin")) == bytes)
        },
        RemoteContract("holds empty files") { remote, folder in
            try await remote.write("\(folder)/empty", [], .new)
            #expect(try await remote.size(of: "\(folder)/empty") == 0)
            #expect(try await remote.read("\(folder)/empty", limit: 0) == [])
            #expect(try await collect(try await remote.stream("\(folder)/empty")) == [])
            #expect(try await remote.write("\(folder)/none", from: BytesSource([]), maxByteCount: 0, .new) == 0)
            #expect(try await remote.size(of: "\(folder)/none") == 0)
        },
        RemoteContract("refuses to read more than the limit") { remote, folder in
            try await remote.write("\(folder)/long", [UInt8](repeating: 1, count: 1001), .new)
            await expectFailure(.invalidInput) { try await remote.read("\(folder)/long", limit: 1000) }
        },
        RemoteContract("says so where nothing is") { remote, folder in
            try await remote.write("\(folder)/file", [1], .new)
            await expectFailure(.notFound) { try await remote.read("\(folder)/none", limit: 1) }
            await expectFailure(.notFound) { try await remote.read("\(folder)/none", at: 0, count: 1) }
            await expectFailure(.notFound) { try await remote.size(of: "\(folder)/none/there") }
            await expectFailure(.notFound) { try await collect(try await remote.stream("\(folder)/none")) }
            await expectFailure(.notFound) { try await remote.list("\(folder)/none") }
            await expectFailure(.notFound) { try await remote.move("\(folder)/none", to: "\(folder)/x", .replace) }
            try await remote.remove("\(folder)/none")
            try await remote.removeTree("\(folder)/none")
        },
        RemoteContract("never replaces a file that must be new") { remote, folder in
            try await remote.write("\(folder)/file", [1], .new)
            await expectFailure(.conflict) { try await remote.write("\(folder)/file", [2], .new) }
            await expectFailure(.conflict) {
                try await remote.write("\(folder)/file", from: BytesSource([3]), maxByteCount: nil, .new)
            }
            try await remote.write("\(folder)/other", [4], .new)
            await expectFailure(.conflict) { try await remote.move("\(folder)/other", to: "\(folder)/file", .new) }
            #expect(try await remote.read("\(folder)/file", limit: 9) == [1])
            #expect(try await remote.list(folder) == ["file", "other"])
        },
        RemoteContract("replaces where that is asked for") { remote, folder in
            try await remote.write("\(folder)/file", [1, 1, 1], .replace)
            try await remote.write("\(folder)/file", [2], .replace)
            #expect(try await remote.read("\(folder)/file", limit: 9) == [2])
            try await remote.write("\(folder)/other", [3, 3], .new)
            try await remote.move("\(folder)/other", to: "\(folder)/file", .replace)
            #expect(try await remote.read("\(folder)/file", limit: 9) == [3, 3])
            #expect(try await remote.list(folder) == ["file"])
        },
        RemoteContract("moves into a folder that is not there yet") { remote, folder in
            try await remote.write("\(folder)/file", [1, 2], .new)
            try await remote.move("\(folder)/file", to: "\(folder)/deep/er/file", .new)
            #expect(try await remote.read("\(folder)/deep/er/file", limit: 9) == [1, 2])
            #expect(try await remote.list(folder) == ["deep"])
        },
        RemoteContract("lists names in order, hidden ones too, and folders one level below") { remote, folder in
            for name in ["b", "a.json", "z/1", "z/2", ".hidden", "é ü", "a b+c&d%20#?<>'"] {
                try await remote.write("\(folder)/\(name)", [1], .new)
            }
            #expect(try await remote.list(folder) == [".hidden", "a b+c&d%20#?<>'", "a.json", "b", "z", "é ü"])
            #expect(try await remote.list("\(folder)/z") == ["1", "2"])
            #expect(try await remote.read("\(folder)/a b+c&d%20#?<>'", limit: 9) == [1])
            #expect(try await remote.list("").contains(folder))
        },
        RemoteContract("removes one file, and a folder with all in it") { remote, folder in
            for name in ["x/a", "x/b/c", "xy"] { try await remote.write("\(folder)/\(name)", [1], .new) }
            try await remote.remove("\(folder)/x/a")
            #expect(try await remote.list("\(folder)/x") == ["b"])
            try await remote.removeTree("\(folder)/x")
            #expect(try await remote.list(folder) == ["xy"])
        },
        RemoteContract("takes a long stream in pieces of any length") { remote, folder in
            var random = SeededRandom(seed: 2)
            let bytes = random.bytes(11_000_003)
            let count = try await remote.write(
                "\(folder)/stream", from: RaggedSource(bytes, seed: 3), maxByteCount: 12_000_000, .new)
            #expect(count == 11_000_003)
            #expect(try await collect(try await remote.stream("\(folder)/stream")) == bytes)
            #expect(try await remote.list(folder) == ["stream"])
        },
        RemoteContract("keeps nothing of a stream that fails or is cancelled") { remote, folder in
            let source = RaggedSource([UInt8](repeating: 5, count: 7_000_000), seed: 4, failsAt: 6_500_000)
            await expectFailure(.corruptData) {
                try await remote.write("\(folder)/broken", from: source, maxByteCount: nil, .new)
            }
            let endless = Task {
                try await remote.write("\(folder)/endless", from: EndlessSource(), maxByteCount: nil, .new)
            }
            endless.cancel()
            await #expect(throws: (any Error).self) { try await endless.value }
            try await remote.write("\(folder)/whole", [1], .new)
            #expect(try await remote.list(folder) == ["whole"])
        },
        RemoteContract("stays below its root") { remote, folder in
            await expectFailure(.invalidInput) { try await remote.read("../etc/passwd", limit: 1) }
            await expectFailure(.invalidInput) { try await remote.write("\(folder)/../../x", [1], .replace) }
            await expectFailure(.invalidInput) { try await remote.removeTree("") }
            await expectFailure(.invalidInput) { try await remote.read("\(folder)/a\u{0}b", limit: 1) }
            try await remote.write("\(folder)/a/.././b", [1], .new)
            #expect(try await remote.list(folder).contains("b"))
        },
    ]
}

func expectFailure<Value>(
    _ kind: BackupFailure.Kind, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async {
    do {
        _ = try await body()
        Issue.record("nothing was thrown; expected \(kind)", sourceLocation: sourceLocation)
    } catch let failure as BackupFailure {
        #expect(failure.kind == kind, "\(failure)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("\(error) instead of a failure of kind \(kind)", sourceLocation: sourceLocation)
    }
}

func collect(_ source: any ByteSource) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let piece = try await source.read(upTo: 70_000) { bytes += piece }
    return bytes
}

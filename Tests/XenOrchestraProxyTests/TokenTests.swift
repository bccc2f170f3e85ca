import BackupFormats
import Platform
import StateDatabase
import Synchronization
import Testing

@testable import XenOrchestraProxy

@Suite("The token of the proxy")
struct TokenTests {
    private let folder: StateFolder
    private let now = HandTime()

    private final class HandTime: Sendable {
        private let seconds = Mutex<Int64>(2_000_000_000)
        var source: TimeSource { TimeSource { [self] in seconds.withLock { $0 } * 1_000_000_000 } }
        func move(by count: Int64) { seconds.withLock { $0 += count } }
    }

    init() throws { folder = try StateFolder(path: FileSystem.makeTemporaryFolder(prefix: "cairn-token")) }

    private func open(rotationDays: Int? = nil) throws -> TokenStore {
        try TokenStore(folder: folder, time: now.source, rotationDays: rotationDays)
    }

    private func stored() throws -> String {
        String(decoding: try #require(try folder.read(TokenStore.fileName)), as: UTF8.self).filter { $0 != "\n" }
    }

    @Test("is made once, hard to guess, for the owner's eyes only")
    func first() throws {
        #expect(try open().isNew)
        let token = try stored()
        #expect(token.wholeMatch(of: /[A-Za-z0-9_-]{43}/) != nil)
        #expect(try FileSystem.status(folder.path(of: TokenStore.fileName))?.mode == 0o600)
        let again = try open()
        #expect(!again.isNew && again.judge(token) == .current && again.judge(token + "x") == .wrong)
        try FileSystem.removeTree(folder.path)
    }

    @Test("may be written by the administrator; the file's mode is corrected")
    func written() throws {
        try folder.replace(TokenStore.fileName, with: Array("  my token=é\r\n".utf8), mode: 0o644)
        let store = try open()
        #expect(store.judge("my token=é") == .current)
        #expect(store.judge("my%20token%3D%C3%A9") == .current)
        #expect(try FileSystem.status(store.path)?.mode == 0o600)
        try folder.replace(TokenStore.fileName, with: Array("two\nlines".utf8))
        #expect(throws: BackupFailure.self) { try open() }
        try FileSystem.removeTree(folder.path)
    }

    @Test("can be replaced at once, and stays replaced")
    func replaced() throws {
        let store = try open()
        let old = try stored()
        try store.set("another")
        #expect(store.judge(old) == .wrong && store.judge("another") == .current)
        #expect(try open().judge("another") == .current)
        #expect(try FileSystem.status(store.path)?.mode == 0o600)
        try FileSystem.removeTree(folder.path)
    }

    @Test("is replaced by itself when it is old, and the one before stays good until the new one is used")
    func rotation() throws {
        let old = try {
            _ = try open(); return try stored()
        }()
        now.move(by: 1_000_000_000)
        let store = try open(rotationDays: 30)
        #expect(store.mustSettle(.current))
        let next = try #require(try store.settle(.current))
        #expect(next != old)
        #expect(try stored() == next)
        #expect(store.judge(old) == .previous && store.judge(next) == .current)
        // The answer was lost: who comes with the old one is told again, also after a restart.
        #expect(try store.settle(.previous) == next)
        // Without an age: the file's time is that of the machine, not of this test.
        let again = try open()
        #expect(again.judge(old) == .previous && again.judge(next) == .current)
        #expect(try again.settle(.current) == nil)
        #expect(again.judge(old) == .wrong && !again.mustSettle(.current))
        #expect(try open().judge(old) == .wrong)
        try FileSystem.removeTree(folder.path)
    }

    @Test("before the present one ends after a day")
    func grace() throws {
        let old = try {
            _ = try open(); return try stored()
        }()
        now.move(by: 1_000_000_000)
        let store = try open(rotationDays: 30)
        _ = try store.settle(.current)
        now.move(by: TokenStore.grace - 1)
        #expect(store.judge(old) == .previous)
        now.move(by: 1)
        #expect(store.judge(old) == .wrong)
        try FileSystem.removeTree(folder.path)
    }
}

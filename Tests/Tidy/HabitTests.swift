import Foundation
import Testing

@Suite("The sources")
struct HabitTests {
    /// Calls that one place makes for all others: the clock, the process, the exit.
    static let reserved: [(call: String, home: String)] = [
        ("Date()", "Sources/Storage/Platform"),
        ("Date.now", "Sources/Storage/Platform"),
        ("clock_gettime(", "Sources/Storage/Platform"),
        ("getpid()", "Sources/Storage/Platform"),
        ("ProcessInfo.processInfo", "Sources/Storage/Platform"),
        ("FileManager.default", "Sources/Storage/Platform"),
    ]

    @Test("ask the machine for time, process and files in one place only", arguments: House.sources)
    func reservedCalls(in path: String) throws {
        let text = try House.text(path)
        for (call, home) in Self.reserved where !path.hasPrefix(home + "/") {
            #expect(!text.contains(call), "\(path) calls \(call); \(home) is the place for it")
        }
    }

    @Test("hold no unfinished work", arguments: House.sources)
    func finished(_ path: String) throws {
        let text = try House.text(path)
        for word in ["TODO", "FIXME", "XXX", "fatalError(", "try! "] {
            #expect(!text.contains(word), "\(path) contains \(word)")
        }
    }

    @Test("stay readable: a file is one concept", arguments: House.sources)
    func length(of path: String) throws {
        let count = try House.text(path).split(separator: "\n", omittingEmptySubsequences: false).count
        #expect(count <= 600, "\(path) has \(count) lines")
    }

    @Test("keep the fixtures small")
    func fixtures() throws {
        let folder = House.root.appending(path: "Tests/Fixtures")
        let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.fileSizeKey])
        var total = 0
        while let file = files?.nextObject() as? URL {
            total += try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
        }
        #expect(total < 20_000_000, "Tests/Fixtures holds \(total) bytes")
    }
}

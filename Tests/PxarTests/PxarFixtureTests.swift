import BackupFormats
import CairnTestSupport
import Pxar
import Testing

@Suite("Archives of the original")
struct PxarFixtureTests {
    @Test("are decoded and encoded to the same bytes", arguments: fixtureNames)
    func roundTrip(_ name: String) throws {
        let bytes = try archive(name)
        let steps = try decode(bytes)
        #expect(steps.last == .archiveEnd)
        #expect(try encode(steps) == bytes)
    }

    @Test("decode alike in any slices", arguments: fixtureNames)
    func slices(_ name: String) throws {
        let bytes = try archive(name)
        let whole = try decode(bytes)
        for slice in [1, 7, 16, 100] { #expect(try decode(bytes, slice: slice) == whole, "\(slice) bytes a call") }
    }

    @Test("hold the entries that the original lists", arguments: ["exclude", "exclude-cli", "hard", "special", "deep"])
    func listing(_ name: String) throws {
        let listed = try Fixtures.text("pbs/outputs/pxar-list.\(name).txt").split(separator: "\n").map {
            String($0.dropFirst().dropLast())
        }
        #expect(try paths(of: decode(archive(name))) == listed)
    }

    @Test("are refused wherever they are cut short", arguments: ["acl", "hard", "xattr"])
    func truncated(_ name: String) throws {
        let bytes = try archive(name)
        for length in 0..<bytes.count {
            #expect(throws: FormatError.self, "\(length) bytes") { try decode(Array(bytes.prefix(length))) }
        }
    }

    @Test("never crash the decoder when a bit is wrong", arguments: ["acl", "hard", "special", "xattr"])
    func flippedBits(_ name: String) throws {
        let bytes = try archive(name)
        var refused = 0
        for index in bytes.indices {
            for bit in [0, 3, 7] as [UInt8] {
                var broken = bytes
                broken[index] ^= 1 << bit
                if outcome(broken) == nil { refused += 1 }
            }
        }
        #expect(refused > bytes.count)
    }

    @Test("give the metadata that was backed up")
    func metadata() throws {
        let entries = try decode(archive("times")).compactMap { if case .entry(let entry) = $0 { entry } else { nil } }
        let times = Dictionary(uniqueKeysWithValues: entries.map { (String(decoding: $0.name, as: UTF8.self), $0) })
        #expect(times["negative-ns"]?.metadata.stat.mtime == PxarTime(seconds: -1, nanoseconds: 999_999_999))
        #expect(times["negative"]?.metadata.stat.mtime == PxarTime(seconds: -86400))
        #expect(times["future"]?.metadata.stat.mtime == PxarTime(seconds: 4_102_444_800, nanoseconds: 999_999_999))
        let special = try decode(archive("special"))
        #expect(
            special.contains {
                if case .entry(let entry) = $0 { entry.content == .device(major: 300, minor: 70000) } else { false }
            })
    }
}

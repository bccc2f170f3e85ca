import BackupFormats
import Pxar
import Testing

/// Archives put together item by item, right or wrong.
struct Archive {
    var bytes: [UInt8] = []

    mutating func item(_ type: PxarItemType, _ content: [UInt8] = [], size: UInt64? = nil) {
        bytes.appendLittleEndian(type.rawValue)
        bytes.appendLittleEndian(size ?? UInt64(16 + content.count))
        bytes += content
    }

    mutating func entry(_ mode: UInt64, nanoseconds: UInt32 = 0) {
        var content: [UInt8] = []
        for word in [mode, 0, 0, 0] { content.appendLittleEndian(word) }
        content.appendLittleEndian(nanoseconds)
        content.appendLittleEndian(UInt32(0))
        item(.entry, content)
    }

    mutating func name(_ text: String) { item(.fileName, Array(text.utf8) + [0]) }
    mutating func name(_ name: [UInt8]) { item(.fileName, name + [0]) }

    mutating func words(_ type: PxarItemType, _ words: UInt64...) {
        item(type, words.reduce(into: []) { $0.appendLittleEndian($1) })
    }

    /// A table without lines: readers in order look at the tail only.
    mutating func goodbye() { words(.goodbye, 0xef5e_ed5b_753e_1555, 0, 40) }

    static func withRoot(_ body: (inout Archive) -> Void) -> [UInt8] {
        var archive = Archive()
        archive.entry(0o040755)
        body(&archive)
        archive.goodbye()
        return archive.bytes
    }
}

@Suite("A decoder")
struct PxarHostileTests {
    @Test("takes attributes in any order and times of old archives")
    func tolerated() throws {
        let steps = try decode(
            Archive.withRoot {
                $0.name("f")
                $0.words(.entryVersion1, 0o100644, 0, 5 << 32 | 4, 1_500_000_000)
                $0.words(.quotaProjectID, 9)
                $0.item(.xattr, Array("user.a".utf8) + [0, 1])
                $0.words(.aclUser, 7, 6)
                $0.item(.payload)
            })
        guard case .entry(let file) = steps[1] else { Issue.record("no file"); return }
        #expect(file.metadata.stat.mtime == PxarTime(seconds: 1, nanoseconds: 500_000_000))
        #expect(file.metadata.stat.uid == 4)
        #expect(file.metadata.stat.gid == 5)
        #expect(file.metadata.quotaProjectID == 9)
        #expect(file.metadata.acl.users == [PxarACLEntry(id: 7, permissions: 6)])
        #expect(steps[2] == .content([]))
    }

    @Test(
        "refuses names that lead elsewhere",
        arguments: ["", ".", "..", "a/b", "/", "a\0b", String(repeating: "x", count: 4097)])
    func names(_ name: String) {
        #expect(throws: FormatError.self) {
            try decode(
                Archive.withRoot {
                    $0.name(name); $0.entry(0o010644)
                })
        }
    }

    @Test("refuses a name that occurs twice in a folder")
    func duplicates() {
        #expect(throws: FormatError.self) {
            try decode(
                Archive.withRoot {
                    for _ in 0..<2 { $0.name("a"); $0.entry(0o010644) }
                })
        }
    }

    @Test(
        "refuses hard links that lead elsewhere",
        arguments: ["../x", "a/../b", "", "/", "a\0", "./a"])
    func hardLinks(_ path: String) {
        #expect(throws: FormatError.self) {
            try decode(
                Archive.withRoot {
                    $0.name("a"); $0.entry(0o100644); $0.item(.payload)
                    $0.name("b"); $0.item(.hardLink, [0x5a, 0, 0, 0, 0, 0, 0, 0] + Array(path.utf8) + [0])
                })
        }
    }

    @Test("refuses items out of place")
    func misplaced() {
        let wrong: [(inout Archive) -> Void] = [
            { $0.entry(0o100644) },
            { $0.item(.payload) },
            { $0.words(.formatVersion, 2) },
            {
                $0.name("a"); $0.name("b")
            },
            {
                $0.name("a"); $0.item(.payload)
            },
            {
                $0.name("a"); $0.entry(0o100644)
            },
            {
                $0.name("a"); $0.entry(0o100644); $0.entry(0o100644); $0.item(.payload)
            },
            {
                $0.name("a"); $0.entry(0o040755); $0.item(.payload)
            },
            {
                $0.name("a"); $0.entry(0o100644); $0.item(.symlink, [65, 0])
            },
            {
                $0.name("a"); $0.entry(0o120777); $0.words(.device, 1, 2)
            },
            {
                $0.name("a"); $0.entry(0o060600); $0.words(.device, 1 << 40, 2)
            },
            {
                $0.name("a"); $0.entry(0o170000)
            },
            {
                $0.name("a"); $0.entry(0o010644, nanoseconds: 1_000_000_000)
            },
            {
                $0.name("a"); $0.entry(0o100644); $0.words(.payloadReference, 16, 0)
            },
            {
                $0.name("a"); $0.entry(0o010644); $0.words(.aclGroupObject, 5); $0.words(.aclGroupObject, 5)
            },
            {
                $0.name("a"); $0.entry(0o010644); $0.words(.aclUser, 5, 8)
            },
            {
                $0.name("a"); $0.entry(0o010644); $0.item(.xattr, Array("user.a".utf8))
            },
            {
                $0.name("a"); $0.entry(0o010644); $0.item(.xattr, [0, 1])
            },
            {
                $0.name("a"); $0.entry(0o120777); $0.item(.symlink, [65, 0, 66, 0])
            },
            { $0.goodbye() },
        ]
        for (index, body) in wrong.enumerated() {
            #expect(throws: FormatError.self, "case \(index)") { try decode(Archive.withRoot(body)) }
        }
    }

    @Test("refuses absurd sizes before it takes memory", arguments: PxarItemType.allCases)
    func absurdSizes(_ type: PxarItemType) {
        for size in [0, 15, 1 << 40, UInt64(Int64.max), .max] {
            // A file may be of any size that a position can count; then its bytes are missing.
            #expect(throws: FormatError.self, "\(size)") {
                try decode(
                    Archive.withRoot {
                        $0.name("a")
                        $0.entry(0o100644)
                        $0.item(type, size: size)
                    })
            }
        }
    }

    @Test("refuses folders without end in bounded memory")
    func depth() {
        var archive = Archive()
        archive.entry(0o040755)
        for _ in 0..<PxarLimits.depth {
            archive.name("d")
            archive.entry(0o040755)
        }
        archive.name("d")
        #expect(throws: FormatError.self) { try decode(archive.bytes) }
    }

    @Test("refuses what is no archive")
    func noArchive() {
        #expect(throws: FormatError.self) { try decode([]) }
        #expect(throws: FormatError.self) { try decode([UInt8](repeating: 0, count: 64)) }
        var file = Archive()
        file.entry(0o100644)
        file.item(.payload)
        #expect(throws: FormatError.self) { try decode(file.bytes) }
        #expect(throws: FormatError.self) { try decode(PxarVectorTests.version1 + [0]) }
        var version3 = Archive()
        version3.words(.formatVersion, 3)
        #expect(throws: FormatError.self) { try decode(version3.bytes) }
    }
}

import BackupClient
import BackupFormats
import Platform
import Pxar
import Testing

/// Writes archives entry by entry, also such as no walk would make.
struct ArchiveMaker {
    var bytes: [UInt8] = []
    private var encoder: PxarEncoder

    init() throws {
        encoder = try PxarEncoder(root: Self.metadata(0o040755), into: &bytes)
    }

    static func metadata(_ mode: UInt64) -> PxarMetadata {
        PxarMetadata(
            stat: PxarStat(
                mode: mode, uid: ProcessInformation.userID, gid: ProcessInformation.groupID,
                mtime: PxarTime(seconds: 1000, nanoseconds: 5)))
    }

    @discardableResult
    mutating func file(
        _ name: String, _ content: [UInt8] = [], _ metadata: PxarMetadata = metadata(0o100644)
    ) throws -> UInt64 {
        let position = try encoder.beginFile(Array(name.utf8), metadata, size: UInt64(content.count), into: &bytes)
        bytes += content
        encoder.passedPayload(content.count)
        return position
    }

    mutating func link(_ name: String, to target: String) throws {
        try encoder.addSymlink(Array(name.utf8), Self.metadata(0o120777), target: Array(target.utf8), into: &bytes)
    }

    mutating func hardLink(_ name: String, to path: String, at position: UInt64) throws {
        try encoder.addHardLink(Array(name.utf8), target: position, path: Array(path.utf8), into: &bytes)
    }

    mutating func folder(_ name: String, _ body: (inout ArchiveMaker) throws -> Void) throws {
        try encoder.beginDirectory(Array(name.utf8), Self.metadata(0o040755), into: &bytes)
        try body(&self)
        encoder.endDirectory(into: &bytes)
    }

    mutating func finish() -> [UInt8] {
        encoder.endDirectory(into: &bytes)
        return bytes
    }

    static func make(_ body: (inout ArchiveMaker) throws -> Void) throws -> [UInt8] {
        var maker = try ArchiveMaker()
        try body(&maker)
        return maker.finish()
    }
}

@Suite("A tree extractor")
struct TreeExtractorTests {
    func kind(_ failure: BackupFailure?) -> BackupFailure.Kind? { failure?.kind }

    @Test("makes holes of zeros and keeps every other byte")
    func sparse() throws {
        var content = [UInt8](repeating: 0, count: 300_000)
        content[100_000] = 1
        content[204_799] = 2
        let bytes = try ArchiveMaker.make {
            try $0.file("a", content)
            try $0.file("zeros", [UInt8](repeating: 0, count: 100_001))
            try $0.file("end", [UInt8](repeating: 0, count: 10_000) + [9])
        }
        for slice in [999, 4096, 1 << 20] {
            try withFolder { path in
                let (summary, _) = try extract(bytes, into: path + "/out", slice: slice)
                #expect(try FileSystem.read(path + "/out/a", limit: 1 << 20) == content)
                #expect(try FileSystem.read(path + "/out/zeros", limit: 1 << 20).count == 100_001)
                #expect(try FileSystem.read(path + "/out/end", limit: 1 << 20).last == 9)
                #expect(summary.bytes == 300_000 + 100_001 + 10_001)
                let blocks = try shell("stat -c %b \(path)/out/a \(path)/out/zeros").split(separator: "\n")
                #expect(blocks.last == "0")
                #expect(Int(blocks[0]) ?? .max <= 64)
            }
        }
    }

    @Test("never goes through a link that the archive made")
    func throughLink() throws {
        try withFolder { path in
            try shell("mkdir \(path)/victim")
            // The decoder refuses the second "a"; without that the folder would be the link.
            let twice = try ArchiveMaker.make {
                try $0.link("a", to: path + "/victim")
                try $0.folder("a") { try $0.file("x", [1]) }
            }
            let failure = #expect(throws: BackupFailure.self) { try extract(twice, into: path + "/out") }
            #expect(kind(failure) == .corruptData)
            // A link that was there before, with everything allowed.
            try shell("mkdir \(path)/old; ln -s \(path)/victim \(path)/old/a; ln -s \(path)/victim/f \(path)/old/f")
            var options = TreeExtractOptions()
            options.allowsExistingFolders = true
            options.overwritesFiles = true
            let folder = try ArchiveMaker.make { try $0.folder("a") { try $0.file("x", [1]) } }
            let refused = #expect(throws: BackupFailure.self) { try extract(folder, into: path + "/old", options) }
            #expect(kind(refused) == .conflict)
            try extract(ArchiveMaker.make { try $0.file("f", [1]) }, into: path + "/old", options)
            #expect(try FileSystem.list(path + "/victim").isEmpty)
            #expect(try FileSystem.status(path + "/old/f", followsLinks: false)?.kind == .file)
        }
    }

    @Test("gives no names to files outside")
    func hardLinks() throws {
        try withFolder { path in
            try shell("mkdir \(path)/victim; echo secret > \(path)/victim/f")
            let outside = try ArchiveMaker.make {
                let position = try $0.file("ok", [1])
                try $0.link("dir", to: path + "/victim")
                try $0.hardLink("stolen", to: "dir/f", at: position)
                try $0.hardLink("link", to: "dir", at: position)
                try $0.hardLink("good", to: "ok", at: position)
            }
            let (_, warnings) = try extract(outside, into: path + "/out")
            #expect(warnings.map(\.path) == ["stolen", "link"])
            #expect(try FileSystem.list(path + "/out").sorted() == ["dir", "good", "ok"])
        }
    }

    @Test("wants an empty folder or leave to use a full one")
    func existing() throws {
        try withFolder { path in
            let bytes = try ArchiveMaker.make {
                try $0.folder("d") { try $0.file("f", [1, 2]) }
                try $0.link("l", to: "x")
            }
            try shell("mkdir \(path)/out")
            try extract(bytes, into: path + "/out")
            let failure = #expect(throws: BackupFailure.self) { try extract(bytes, into: path + "/out") }
            #expect(kind(failure) == .conflict)
            var options = TreeExtractOptions()
            options.allowsExistingFolders = true
            #expect(throws: BackupFailure.self) { try extract(bytes, into: path + "/out", options) }
            options.overwritesFiles = true
            let symlink = #expect(throws: BackupFailure.self) { try extract(bytes, into: path + "/out", options) }
            #expect(kind(symlink) == .conflict)
            options.overwritesSymlinks = true
            try write("longer than before", to: path + "/out/d/f")
            try extract(bytes, into: path + "/out", options)
            #expect(try FileSystem.read(path + "/out/d/f", limit: 100) == [1, 2])
            try shell("rm \(path)/out/d/f; mkdir \(path)/out/d/f")
            let folder = #expect(throws: BackupFailure.self) { try extract(bytes, into: path + "/out", options) }
            #expect(kind(folder) == .conflict)
        }
    }

    @Test("restores what patterns select, with the folders above")
    func patterns() throws {
        let bytes = try ArchiveMaker.make {
            try $0.folder("etc") {
                let position = try $0.file("passwd", [1])
                try $0.file("hosts", [2])
                try $0.folder("ssh") {
                    try $0.file("key", [3])
                    try $0.file("key.bak", [4])
                }
                try $0.hardLink("passwd2", to: "etc/passwd", at: position)
            }
            try $0.folder("var") { try $0.file("hosts", [5]) }
        }
        let cases: [([String], [String])] = [
            (
                [],
                [
                    "etc", "etc/hosts", "etc/passwd", "etc/passwd2", "etc/ssh", "etc/ssh/key", "etc/ssh/key.bak", "var",
                    "var/hosts",
                ]
            ),
            (["/etc/ssh"], ["etc", "etc/ssh", "etc/ssh/key", "etc/ssh/key.bak"]),
            (["hosts"], ["etc", "etc/hosts", "var", "var/hosts"]),
            (["/etc", "!*.bak", "!passwd*"], ["etc", "etc/hosts", "etc/ssh", "etc/ssh/key"]),
            (["passwd2"], ["etc"]),
            (["none"], []),
        ]
        for (patterns, expected) in cases {
            try withFolder { path in
                var options = TreeExtractOptions()
                options.patterns = patterns
                let (_, warnings) = try extract(bytes, into: path + "/out", options)
                let found = try shell("cd \(path)/out; find . -mindepth 1 | cut -c3- | sort")
                let wanted = patterns == ["passwd2"] ? [] : expected
                #expect(found.split(separator: "\n").map { String($0) } == wanted, "\(patterns)")
                #expect(warnings.isEmpty == (patterns != ["passwd2"]))
            }
        }
    }

    @Test("sets modes, times and owners last, and leaves out what it is told to")
    func metadata() throws {
        try withFolder { path in
            let bytes = try ArchiveMaker.make {
                try $0.folder("d") {
                    try $0.file("f", [1], ArchiveMaker.metadata(0o104751))
                }
            }
            try extract(bytes, into: path + "/out")
            let folder = try OpenNode(folderAt: path + "/out/d")
            let info = try folder.info(of: Array("f".utf8))
            #expect(info.mode == 0o104751)
            #expect(info.modifiedSeconds == 1000)
            #expect(info.modifiedNanoseconds == 5)
            #expect(try folder.info().modifiedSeconds == 1000)
            var options = TreeExtractOptions()
            options.ignoresPermissions = true
            try extract(bytes, into: path + "/plain", options)
            #expect(try OpenNode(folderAt: path + "/plain/d").info(of: Array("f".utf8)).mode == 0o100644)
        }
    }

    @Test("drops setuid when the owner is left out")
    func setuid() throws {
        guard isRoot else { return print("skipped: needs root for owners") }
        try withFolder { path in
            var foreign = ArchiveMaker.metadata(0o104755)
            foreign.stat.uid = 4321
            let bytes = try ArchiveMaker.make { try $0.file("f", [1], foreign) }
            var options = TreeExtractOptions()
            options.ignoresOwnership = true
            try extract(bytes, into: path + "/out", options)
            let info = try OpenNode(folderAt: path + "/out").info(of: Array("f".utf8))
            #expect(info.mode == 0o100755)
            #expect(info.user == 0)
        }
    }

    @Test("leaves out attributes that archives do not carry")
    func foreignAttributes() throws {
        try withFolder { path in
            var metadata = ArchiveMaker.metadata(0o100644)
            metadata.xattrs = [
                PxarXAttr(name: Array("security.selinux".utf8), value: [1]),
                PxarXAttr(name: Array("system.posix_acl_access".utf8), value: [2]),
            ]
            let bytes = try ArchiveMaker.make { try $0.file("f", [1], metadata) }
            let (_, warnings) = try extract(bytes, into: path + "/out")
            #expect(warnings.count == 2)
            let file = try OpenNode(folderAt: path + "/out").open(Array("f".utf8), .reading)
            #expect(try file.xattrNames().isEmpty)
        }
    }

    @Test("takes the contents of a split archive from its payload")
    func split() throws {
        struct Payload: TreePayload {
            var bytes: [UInt8]
            var size: UInt64 { UInt64(bytes.count) }
            func read(at offset: UInt64, count: Int) -> [UInt8] { Array(bytes[Int(offset)..<Int(offset) + count]) }
        }
        var metadata: [UInt8] = []
        var payload: [UInt8] = []
        func item(_ output: inout [UInt8], _ type: PxarItemType, _ words: UInt64..., content: [UInt8] = []) {
            output.appendLittleEndian(type.rawValue)
            output.appendLittleEndian(UInt64(16 + words.count * 8 + content.count))
            for word in words { output.appendLittleEndian(word) }
            output += content
        }
        let owner = UInt64(ProcessInformation.groupID) << 32 | UInt64(ProcessInformation.userID)
        item(&payload, .payloadStartMarker)
        item(&payload, .payload, content: Array("hi".utf8))
        item(&payload, .payloadTailMarker)
        item(&metadata, .formatVersion, 2)
        item(&metadata, .entry, 0o040755, 0, owner, 1, 0)
        item(&metadata, .fileName, content: [102, 0])
        item(&metadata, .entry, 0o100644, 0, owner, 2, 0)
        item(&metadata, .payloadReference, 16, 2)
        item(&metadata, .goodbye, 0xef5e_ed5b_753e_1555, 0, 40)
        try withFolder { path in
            func restore(_ payload: (any TreePayload)?, _ name: String) throws {
                let extractor = try TreeExtractor(into: path + name, payload: payload) { _ in }
                try metadata.withUnsafeBytes { try extractor.push($0) }
                _ = try extractor.finish()
            }
            try restore(Payload(bytes: payload), "/good")
            #expect(try FileSystem.read(path + "/good/f", limit: 10) == Array("hi".utf8))
            let alone = #expect(throws: BackupFailure.self) { try restore(nil, "/alone") }
            #expect(kind(alone) == .unsupported)
            for broken in [[], Array(payload.prefix(33)), payload.map { $0 ^ 1 }] {
                let failure = #expect(throws: BackupFailure.self) { try restore(Payload(bytes: broken), "/bad") }
                #expect(kind(failure) == .corruptData)
            }
        }
    }

    @Test("refuses an archive that ends early or is none")
    func broken() throws {
        let bytes = try ArchiveMaker.make { try $0.file("f", [1, 2, 3]) }
        try withFolder { path in
            for length in stride(from: 0, to: bytes.count, by: 23) {
                let failure = #expect(throws: BackupFailure.self) {
                    try extract(Array(bytes.prefix(length)), into: path + "/\(length)")
                }
                #expect(kind(failure) == .corruptData)
            }
            #expect(throws: BackupFailure.self) { try extract([UInt8](repeating: 1, count: 99), into: path + "/x") }
        }
    }

    @Test("restores folders inside folders, further than open files usually reach")
    func deep() throws {
        let bytes = try ArchiveMaker.make { maker in
            func nest(_ maker: inout ArchiveMaker, _ depth: Int) throws {
                guard depth > 0 else { return }
                try maker.folder("d") { try nest(&$0, depth - 1) }
            }
            try nest(&maker, 1100)
        }
        try withFolder { path in
            try extract(bytes, into: path + "/out", slice: 1 << 20)
            #expect(try archive(path + "/out").bytes.count == bytes.count)
        }
    }
}

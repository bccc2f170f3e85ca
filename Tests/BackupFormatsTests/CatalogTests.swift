import BackupFormats
import CairnTestSupport
import Testing

@Suite("A catalog")
struct CatalogTests {
    static let example = hex(
        """
        91fd60f9c46758d506016c036c6e6b14026605612e7478740580e2cfaa06640364697207\
        0f01640b782e707861722e64696478152400000000000000
        """)

    static func name(_ text: String) -> [UInt8] { Array(text.utf8) }

    static func makeExample() throws -> [UInt8] {
        var writer = CatalogWriter()
        try writer.beginDirectory(name("x.pxar.didx"))
        try writer.addFile(name("a.txt"), size: 5, modified: 1_700_000_000)
        try writer.beginDirectory(name("dir"))
        try writer.addSymlink(name("lnk"))
        try writer.endDirectory()
        try writer.endDirectory()
        try writer.finish()
        return writer.takeOutput()
    }

    @Test("is written byte by byte as in the example")
    func writes() throws {
        #expect(try Self.makeExample() == Self.example)
    }

    @Test("reads the example")
    func reads() throws {
        let catalog = try CatalogReader(Self.example)
        #expect(catalog.rootPosition == 36)
        let root = try catalog.entries(at: catalog.rootPosition)
        #expect(root == [CatalogEntry(name: Self.name("x.pxar.didx"), kind: .directory(position: 15))])
        let path = ["x.pxar.didx", "dir", "lnk"].map(Self.name)
        #expect(try catalog.entry(at: path)?.kind == .symlink)
        #expect(try catalog.entries(at: Array(path.prefix(1)))?.count == 2)
        #expect(
            try catalog.entry(at: [path[0], Self.name("a.txt")])?.kind == .file(size: 5, modified: 1_700_000_000))
        #expect(try catalog.entry(at: [path[0], Self.name("none")]) == nil)
        #expect(try catalog.entry(at: [path[0], Self.name("a.txt"), path[2]]) == nil)
        #expect(try catalog.entries(at: path) == nil)
    }

    static let fixtures = [
        "host_plain_2024-06-01T00_00_00Z", "host_plain_2024-06-02T00_00_00Z", "host_signed_2024-06-01T00_00_00Z",
        "host_exclude_2024-06-01T00_00_00Z",
    ]

    @Test("of the reference client lists what its tool lists", arguments: fixtures)
    func fixture(_ name: String) throws {
        let dump = try Fixtures.text("pbs/outputs/catalog-dump.\(name).txt").split(separator: "\n").map { String($0) }
        var lines: [String] = []
        try CatalogReader(Fixtures.bytes("pbs/outputs/catalog.\(name).pcat1")).walk { path, entry in
            let text = path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
            switch entry.kind {
            case .directory: lines.append("d \"./\(text)\"")
            case .file(let size, let modified): lines.append("f \"./\(text)\" \(size) \(BackupTime.text(modified))")
            case .symlink: lines.append("l \"./\(text)\"")
            case .hardLink: lines.append("h \"./\(text)\"")
            case .blockDevice: lines.append("b \"./\(text)\"")
            case .characterDevice: lines.append("c \"./\(text)\"")
            case .fifo: lines.append("p \"./\(text)\"")
            case .socket: lines.append("s \"./\(text)\"")
            }
        }
        #expect(lines.count == dump.count)
        // The tool escapes some names in its own way.
        func isPlain(_ line: String) -> Bool { line.allSatisfy { $0.isASCII && $0 != "\\" && $0 != "\n" } }
        for (ours, theirs) in zip(lines, dump) where isPlain(ours) && isPlain(theirs) { #expect(ours == theirs) }
    }

    @Test("of the reference client is written again with the same bytes", arguments: fixtures)
    func rewritten(_ name: String) throws {
        let bytes = try Fixtures.bytes("pbs/outputs/catalog.\(name).pcat1")
        let catalog = try CatalogReader(bytes)
        var writer = CatalogWriter()
        var output: [UInt8] = []
        try catalog.walk { path, entry in
            while writer.depth >= path.count { try writer.endDirectory() }
            switch entry.kind {
            case .directory: try writer.beginDirectory(entry.name)
            case .file(let size, let modified): try writer.addFile(entry.name, size: size, modified: modified)
            case .symlink: try writer.addSymlink(entry.name)
            case .hardLink: try writer.addHardLink(entry.name)
            case .blockDevice: try writer.addBlockDevice(entry.name)
            case .characterDevice: try writer.addCharacterDevice(entry.name)
            case .fifo: try writer.addFIFO(entry.name)
            case .socket: try writer.addSocket(entry.name)
            }
            if writer.pendingByteCount > 100 { output += writer.takeOutput() }
        }
        while writer.depth > 0 { try writer.endDirectory() }
        try writer.finish()
        #expect(output + writer.takeOutput() == bytes)
    }

    @Test("may be empty")
    func empty() throws {
        var writer = CatalogWriter()
        try writer.finish()
        let bytes = writer.takeOutput()
        #expect(bytes == hex("91fd60f9c46758d5 01 00 0800000000000000"))
        #expect(try CatalogReader(bytes).entries(at: 8).isEmpty)
    }

    @Test(
        "takes no name that a folder cannot hold",
        arguments: [
            [], Array("a/b".utf8), [97, 0, 98], [UInt8](repeating: 97, count: 4096),
        ] as [[UInt8]])
    func names(_ name: [UInt8]) throws {
        var writer = CatalogWriter()
        #expect(throws: FormatError.self) { try writer.addSymlink(name) }
        #expect(throws: FormatError.self) { try writer.beginDirectory(name) }
        #expect(throws: FormatError.self) { try writer.endDirectory() }
    }

    @Test("cannot end while a folder is open")
    func openFolder() throws {
        var writer = CatalogWriter()
        try writer.beginDirectory(Self.name("a"))
        #expect(throws: FormatError.self) { try writer.finish() }
    }

    /// A catalog whose root is the given block content behind one empty folder at position 8.
    static func root(_ content: [UInt8]) -> [UInt8] {
        var bytes = hex("91fd60f9c46758d5 0100")
        Varint.append(UInt64(content.count), to: &bytes)
        bytes += content
        bytes.appendLittleEndian(UInt64(10))
        return bytes
    }

    @Test(
        "is refused when a block is wrong",
        arguments: [
            "00 00",  // a byte behind the last entry
            "02 6c 01 61",  // one entry of two
            "01 78 01 61",  // unknown type
            "01 6c 00",  // empty name
            "01 6c ff7f",  // a name longer than the block
            "01 6c 8020",  // a name of 4096 bytes
            "01 64 01 61 00",  // a folder inside itself
            "01 64 01 61 04",  // a folder before the first block
            "01 64 01 61 ffffffffffffffffff01",
            "ffffffffffffffffff01",  // more entries than bytes
            "",
        ])
    func wrongBlocks(_ text: String) throws {
        #expect(throws: FormatError.self) {
            let catalog = try CatalogReader(Self.root(hex(text)))
            _ = try catalog.entries(at: catalog.rootPosition)
        }
    }

    @Test("cannot make a walk endless")
    func shared() throws {
        let catalog = try CatalogReader(Self.root(hex("02 64 01 61 02 64 01 62 02")))
        #expect(try catalog.entries(at: 10).count == 2)
        #expect(throws: FormatError.invalid("a folder appears twice in the catalog", offset: 8)) {
            try catalog.walk { _, _ in }
        }
    }

    @Test("survives damage")
    func damage() throws {
        expectOnlyFormatErrors(from: Self.example, rounds: 3000, cuts: 0..<Self.example.count) { bytes in
            try CatalogReader(bytes).walk { _, _ in }
        }
        let fixture = try Fixtures.bytes("pbs/outputs/catalog.host_exclude_2024-06-01T00_00_00Z.pcat1")
        expectOnlyFormatErrors(from: fixture, rounds: 500, cuts: 0..<fixture.count) { bytes in
            try CatalogReader(bytes).walk { _, _ in }
        }
    }
}

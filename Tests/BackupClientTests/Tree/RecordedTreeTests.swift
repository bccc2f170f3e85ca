import BackupClient
import BackupFormats
import CairnTestSupport
import Platform
import Testing

/// The original's tree on disk against the original's archives of it.
@Suite("The recorded tree", .serialized)
struct RecordedTreeTests {
    static let folders = [
        "acl", "deep", "empty-dir", "exclude", "flags", "hard", "links", "modes", "names", "owners", "special", "times",
        "xattr",
    ]

    @Test("is archived to the recorded bytes")
    func archives() throws {
        guard isRoot else { return print("skipped: needs root for owners, devices and attributes") }
        try withRecordedTree { tree in
            for folder in Self.folders {
                let made = try archive("\(tree)/\(folder)")
                #expect(try made.bytes == fixture(folder), "\(folder)")
                #expect(made.warnings.isEmpty)
            }
            var options = TreeArchiveOptions()
            options.excludes = ["*.txt", "!kept/c.tmp"]
            #expect(try archive("\(tree)/exclude", options).bytes == fixture("exclude-cli"))
        }
    }

    /// The archive and the whole catalog of one folder.
    static func archiveWithCatalog(
        _ path: String, _ options: TreeArchiveOptions, name: String
    ) throws -> (archive: [UInt8], catalog: [UInt8]) {
        var writer = CatalogWriter()
        let archive = Collected()
        let catalog = Collected()
        let summary = try TreeArchiver(root: path, options: options).run(
            catalog: &writer, archiveName: name, warn: { archive.warnings.append($0) },
            consumeCatalog: { catalog.bytes += $0 }, consume: { archive.bytes += $0 })
        try writer.finish()
        #expect(summary.warnings == 0)
        return (archive.bytes, catalog.bytes + writer.takeOutput())
    }

    @Test("has the recorded catalog")
    func catalog() throws {
        guard isRoot else { return print("skipped: needs root for owners, devices and attributes") }
        try withRecordedTree { tree in
            var options = TreeArchiveOptions()
            options.excludes = ["*.txt", "!kept/c.tmp"]
            let made = try Self.archiveWithCatalog("\(tree)/exclude", options, name: "exclude.pxar.didx")
            let recorded = try Fixtures.bytes("pbs/outputs/catalog.host_exclude_2024-06-01T00_00_00Z.pcat1")
            #expect(made.catalog == recorded)
        }
    }

    @Test("comes back out of the recorded archives, and gives the same archives again", arguments: folders)
    func restores(_ folder: String) throws {
        guard isRoot else { return print("skipped: needs root for owners, devices and attributes") }
        try withFolder { path in
            let bytes = try fixture(folder)
            let restored = try extract(bytes, into: path + "/out")
            #expect(restored.warnings.isEmpty)
            #expect(try archive(path + "/out").bytes == bytes)
            #expect(restored.summary.entries == (try listing(bytes).count) + 1)
        }
    }

    @Test("comes back with warnings where only root could set or make something", arguments: folders)
    func withoutRoot(_ folder: String) throws {
        guard !isRoot else { return print("skipped: needs to run without root") }
        try withFolder { path in
            let bytes = try fixture(folder)
            let restored = try extract(bytes, into: path + "/out")
            // Everything in the archives belongs to somebody else.
            #expect(!restored.warnings.isEmpty)
            #expect(restored.summary.warnings == restored.warnings.count)
            let found = try listing(archive(path + "/out").bytes)
            if folder != "special", folder != "modes" { #expect(try found == listing(bytes)) }
        }
    }

    @Test("restores alike in any slices", arguments: [1, 13, 1 << 20])
    func slices(_ slice: Int) throws {
        guard isRoot else { return print("skipped: needs root for owners, devices and attributes") }
        try withFolder { path in
            let bytes = try fixture("acl")
            try extract(bytes, into: path + "/out", slice: slice)
            #expect(try archive(path + "/out").bytes == bytes)
        }
    }

    @Test("has the recorded access lists and attributes after a restore")
    func attributes() throws {
        guard isRoot else { return print("skipped: needs root for owners and attributes") }
        try withFolder { path in
            try extract(try fixture("acl"), into: path + "/acl")
            let list = try OpenNode(folderAt: path + "/acl").open(Array("file".utf8), .reading)
            let value = try #require(try list.xattr(PosixACL.accessName))
            #expect(PosixACL(parsing: value)?.entries.contains { $0.tag == .user } == true)
            try extract(try fixture("xattr"), into: path + "/xattr")
            let folder = try OpenNode(folderAt: path + "/xattr")
            #expect(try folder.open(Array("fcaps".utf8), .reading).xattr(Array("security.capability".utf8)) != nil)
            let two = try folder.open(Array("two".utf8), .reading)
            let values = try two.xattrNames().compactMap { try two.xattr($0) }
            #expect(values.contains { Set($0).count == 256 })
        }
    }

    @Test("is archived as a whole to the recorded digest, with the recorded catalog")
    func wholeTree() throws {
        guard isRoot else { return print("skipped: needs root for owners, devices and attributes") }
        try withRecordedTree { tree in
            let text = try OpenFile(tree + "/big/compressible-20m.txt", .makeNew(mode: 0o644))
            try text.write(GeneratedData.lines("compressible", 20 << 20), at: 0)
            let random = try OpenFile(tree + "/big/random-9m.bin", .makeNew(mode: 0o644))
            try random.write(GeneratedData.shactr("pbs-fixture-random-9m", 9 << 20), at: 0)
            for (name, time) in [
                ("big/compressible-20m.txt", "1700003000.001939938"), ("big/random-9m.bin", "1700003000.001212211"),
                ("big", "1700002000.000306306"),
            ] { try shell("touch -d @\(time) '\(tree)/\(name)'") }
            let made = try Self.archiveWithCatalog(tree, TreeArchiveOptions(), name: "tree.pxar.didx")
            let recorded = try Fixtures.text("pbs/outputs/restored-pxar.sha256")
            #expect(recorded.contains(ChunkDigest(hashing: made.archive).description))
            #expect(made.archive.count == 39_869_698)
            let catalog = try Fixtures.bytes("pbs/outputs/catalog.host_plain_2024-06-01T00_00_00Z.pcat1")
            #expect(made.catalog == catalog)
        }
    }
}

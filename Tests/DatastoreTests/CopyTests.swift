import BackupFormats
import BlobCoding
import CairnTestSupport
import Datastore
import Platform
import Testing

@Suite("A copied snapshot")
struct CopyTests {
    private static let name = SampleBackup("host/a/2024-06-01T00:00:00Z").snapshot

    private func stored(_ store: Datastore, _ name: ArchiveName) throws -> (index: StoredIndex, bytes: [UInt8]) {
        let reader = try store.openReader(Self.name, in: .root, purpose: "a test")
        defer { reader.close() }
        let index = try reader.openIndex(name)
        return (index, try index.file.read(at: 0, count: index.byteCount))
    }

    @Test("gives its entries in pieces as in one", arguments: [SampleBackup.stream, SampleBackup.image])
    func pieces(_ name: ArchiveName) throws {
        let test = try TestStore()
        try SampleBackup("host/a/2024-06-01T00:00:00Z", pieces: 5).run(in: test.store)
        let index = try stored(test.store, name).index
        var whole: [IndexEntry] = []
        try index.forEach { whole.append($0) }
        for start in 0...index.count {
            #expect(try index.entries(start..<index.count) == Array(whole[start...]))
            #expect(try index.entries(start..<start + 1) == Array(whole[start..<min(whole.count, start + 1)]))
        }
    }

    @Test("keeps index and manifest byte by byte, and statistics out")
    func staged() throws {
        let (source, target) = (try TestStore(), try TestStore())
        let backup = SampleBackup("host/a/2024-06-01T00:00:00Z")
        let manifest = try backup.run(in: source.store)
        let bytes = try source.store.manifestBytes(of: Self.name, in: .root)
        let stage = try target.store.beginSnapshot(backup.request)
        defer { stage.discard() }
        for file in manifest.files {
            guard file.name.kind != .blob else {
                let reader = try source.store.openReader(Self.name, in: .root, purpose: "a test")
                try stage.writeBlob(file.name, try reader.blob(file.name))
                reader.close()
                continue
            }
            let (index, content) = try stored(source.store, file.name)
            let copy = try stage.importIndex(file.name, limit: content.count)
            try copy.write(content)
            #expect(throws: BackupFailure.self) { try copy.write([0]) }
            try index.forEach { entry in
                let blob = try source.store.chunks.read(entry.digest)
                _ = try target.store.chunks.insert(
                    blob, as: entry.digest, length: entry.length, pinning: stage.chunks)
            }
            try copy.place(try copy.check(against: file))
        }
        try (stage as any CopyTarget).finish(manifest: bytes) { _ in }
        #expect(try target.store.manifestBytes(of: Self.name, in: .root) == bytes)
        for file in manifest.files where file.name.kind != .blob {
            #expect(try stored(target.store, file.name).bytes == stored(source.store, file.name).bytes)
        }
    }

    @Test("is refused where an index is not what the manifest lists")
    func wrongIndex() throws {
        let test = try TestStore()
        let backup = SampleBackup("host/a/2024-06-01T00:00:00Z")
        let manifest = try backup.run(in: test.store)
        let (_, content) = try stored(test.store, SampleBackup.stream)
        let later = SampleBackup("host/a/2024-06-02T00:00:00Z")
        let stage = try test.store.beginSnapshot(later.request)
        defer { stage.discard() }
        let file = try #require(manifest.file(SampleBackup.stream))
        let copy = try stage.importIndex(SampleBackup.stream, limit: content.count)
        try copy.write(Array(content.dropLast()) + [content[content.count - 1] ^ 1])
        let failure = #expect(throws: BackupFailure.self) { try copy.check(against: file) }
        #expect(failure?.kind == .corruptData)
    }

    @Test("can be repaired in its place, when nobody reads it")
    func repair() throws {
        let test = try TestStore()
        try SampleBackup("host/a/2024-06-01T00:00:00Z").run(in: test.store)
        let reader = try test.store.openReader(Self.name, in: .root, purpose: "a test")
        #expect(throws: BackupFailure.self) {
            try test.store.beginRepair(of: Self.name, in: .root, purpose: "a repair")
        }
        reader.close()
        let extra = try #require(ArchiveName("extra.blob"))
        let repair = try test.store.beginRepair(of: Self.name, in: .root, purpose: "a repair")
        try repair.writeBlob(extra, try BlobEncoder().encode([1, 2, 3], compress: false))
        var manifest = try test.store.manifest(of: Self.name, in: .root)
        manifest.notes = "mended"
        try repair.finish(manifest: try manifest.blob()) { _ in }
        let files = try test.store.snapshot(Self.name, in: .root).files.map(\.name)
        #expect(!files.contains(extra) && files.contains(SampleBackup.stream))
        #expect(try test.store.notes(of: Self.name, in: .root) == "mended")
        // All locks are given up.
        try test.store.removeSnapshot(Self.name, in: .root)
    }
}

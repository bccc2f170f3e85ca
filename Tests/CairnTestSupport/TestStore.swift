package import BackupFormats
package import Datastore
import BlobCoding
import Crypto
import Platform

/// A datastore in a temporary folder, without the 65,536 prefix folders.
package struct TestStore: Sendable {
    package let folder: TemporaryFolder
    package let store: Datastore

    /// - Parameter change: Alters the options with which the store is opened.
    package init(_ change: (inout StoreOptions) -> Void = { _ in }) throws {
        folder = try TemporaryFolder()
        var options = Self.options
        change(&options)
        try Datastore.create(name: "test", at: "\(folder.path)/store", options: Self.options)
        store = try Datastore.open(name: "test", at: "\(folder.path)/store", options: options)
    }

    /// Cheap ones: nothing is synced.
    package static var options: StoreOptions {
        var options = StoreOptions()
        options.makesPrefixFolders = false
        options.syncLevel = .none
        options.minimumFreeByteCount = 0
        return options
    }

    package var path: String { store.path }
}

/// A small backup that goes through a stage as a session does it.
package struct SampleBackup: Sendable {
    package static let owner = AuthID(parsing: "tester@pbs")!
    package static let task = "UPID:node:00000001:00000002:00000003:665A6900:backup:test:tester@pbs:"
    package static let stream = ArchiveName("root.pxar.didx")!
    package static let image = ArchiveName("disk.img.fidx")!
    package static let configuration = ArchiveName("vm.conf.blob")!

    package var namespace = Namespace.root
    package var snapshot: SnapshotName
    package var owner = SampleBackup.owner
    /// The chunks of the stream, and of the image before its last short one.
    package var pieces: [[UInt8]]

    package init(_ snapshot: String = "host/sample/2024-06-01T00:00:00Z", seed: UInt64 = 1, pieces: Int = 4) {
        self.snapshot = SnapshotName(parsing: snapshot)!
        var random = SeededRandom(seed: seed)
        self.pieces = (0..<pieces).map { _ in random.bytes(1000) }
    }

    package var request: SnapshotRequest {
        SnapshotRequest(namespace: namespace, snapshot: snapshot, owner: owner, task: Self.task)
    }

    package func begin(in store: Datastore) throws -> SnapshotStage { try store.beginSnapshot(request) }

    /// Uploads everything but the manifest; gives what the manifest has to list.
    package func upload(to stage: SnapshotStage, of store: Datastore) throws -> Manifest {
        var manifest = Manifest(snapshot: snapshot)
        manifest.add(try uploadStream(to: stage, of: store))
        manifest.add(try uploadImage(to: stage, of: store))
        let blob = try BlobEncoder().encode(Array("memory: 512\n".utf8), compress: true)
        try stage.writeBlob(Self.configuration, blob)
        manifest.add(
            .init(
                name: Self.configuration, cryptMode: .none, size: UInt64(blob.count),
                checksum: ChunkDigest(hashing: blob)))
        return manifest
    }

    package func uploadStream(to stage: SnapshotStage, of store: Datastore) throws -> Manifest.File {
        let writer = try stage.createDynamicIndex(Self.stream)
        var checksum = DynamicIndexChecksum()
        for piece in pieces {
            let digest = try store.insert(piece, stage)
            let start = checksum.size
            try checksum.add(DynamicIndexEntry(end: start + UInt64(piece.count), digest: digest))
            try writer.append(digest, length: piece.count, at: start)
        }
        _ = try writer.close(chunkCount: checksum.count, size: checksum.size, checksum: checksum.value.bytes)
        return .init(name: Self.stream, cryptMode: .none, size: checksum.size, checksum: checksum.value)
    }

    /// An image of one chunk of zeros and a short one.
    package func uploadImage(to stage: SnapshotStage, of store: Datastore) throws -> Manifest.File {
        let chunk = FixedIndexHeader.serverChunkByteCount
        let size = UInt64(chunk + 100)
        let writer = try stage.createFixedIndex(Self.image, size: size)
        var checksum = FixedIndexChecksum()
        for piece in [[UInt8](repeating: 0, count: chunk), [UInt8](repeating: 7, count: 100)] {
            let digest = try store.insert(piece, stage)
            try writer.append(digest, length: piece.count, at: UInt64(checksum.count * chunk))
            checksum.add(digest)
        }
        _ = try writer.close(chunkCount: 2, size: size, checksum: checksum.value.bytes)
        return .init(name: Self.image, cryptMode: .none, size: size, checksum: checksum.value)
    }

    /// The whole way, to a published snapshot.
    @discardableResult
    package func run(in store: Datastore) throws -> Manifest {
        let stage = try begin(in: store)
        defer { stage.discard() }
        let manifest = try upload(to: stage, of: store)
        try stage.writeBlob(.manifest, try manifest.blob())
        try stage.publish(.init(count: 6, size: 0, compressedSize: 0, duplicates: 0)).close()
        return manifest
    }
}

extension Datastore {
    /// Encodes and stores a plain chunk for a session.
    @discardableResult
    package func insert(_ content: [UInt8], _ stage: SnapshotStage) throws -> ChunkDigest {
        let digest = ChunkDigest(SHA256.hash(data: content))
        _ = try chunks.insert(
            try BlobEncoder().encode(content, compress: true), as: digest, length: content.count, pinning: stage.chunks)
        return digest
    }
}

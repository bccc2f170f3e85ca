import BackupFormats
import BlobCoding
import Crypto
import Datastore
import Platform

/// How fast a store is verified, beside SHA-256 and zstd decoding of the same chunks in memory, on as many threads as the
/// machine has cores.
struct VerifyBench {
    private static let goal = "(goal ≥ 0.85)"
    private static let rounds = 5
    /// Content of the store, and of the chunks that the bare loop takes, again and again.
    private static let contentByteCount = 1 << 30
    private static let sampleByteCount = 256 << 20

    private struct Sample: Sendable {
        let blob: [UInt8]
        let digest: ChunkDigest
        let count: Int
    }

    private let snapshot: SnapshotName

    init() {
        guard let snapshot = SnapshotName(parsing: "host/bench/2024-06-01T00:00:00Z") else { preconditionFailure() }
        self.snapshot = snapshot
    }

    /// Makes a store in the folder for temporary files and removes it again.
    func run() throws {
        let folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-bench")
        defer { _ = try? FileSystem.removeTree(folder) }
        var options = StoreOptions()
        options.makesPrefixFolders = false
        options.syncLevel = .none
        try Datastore.create(name: "bench", at: "\(folder)/store", options: options)
        let store = try Datastore.open(name: "bench", at: "\(folder)/store", options: options)
        let samples = try fill(store)
        var (bare, verified) = (0.0, 0.0)
        for _ in 0..<Self.rounds {
            bare = max(bare, try rate(of: samples))
            verified = max(verified, try rate(of: store))
        }
        try store.close()
        let cores = ProcessInformation.processorCount
        print("verification of 1 GiB in the page cache, \(cores) cores, best of \(Self.rounds) rounds")
        let what = "decoding + SHA-256"
        print(Row.text(what, mebibytes: bare, ratio: 1, of: what, goal: ""))
        print(Row.text("verify", mebibytes: verified, ratio: verified / bare, of: what, goal: Self.goal))
    }

    /// Backs up chunks of 1 to 4 MiB, about half of which are compressible.
    ///
    /// - Returns: Some of the chunks.
    private func fill(_ store: Datastore) throws -> [Sample] {
        guard let owner = AuthID(parsing: "bench@pbs"), let name = ArchiveName("root.pxar.didx") else { return [] }
        let task = "UPID:node:00000001:00000002:00000003:665A6900:backup:bench:bench@pbs:"
        let stage = try store.beginSnapshot(
            SnapshotRequest(namespace: .root, snapshot: snapshot, owner: owner, task: task))
        defer { stage.discard() }
        let writer = try stage.createDynamicIndex(name)
        var checksum = DynamicIndexChecksum()
        let random = randomBytes(8 << 20)
        let encoder = BlobEncoder()
        var samples: [Sample] = []
        var number: UInt64 = 0
        while checksum.size < UInt64(Self.contentByteCount) {
            let count = (1 << 20) + Int(number &* 2_654_435_761 % (3 << 20))
            var content = Array(random[Int(number % 1000) * 1000..<Int(number % 1000) * 1000 + count])
            withUnsafeBytes(of: number) { content.replaceSubrange(0..<8, with: $0) }
            if number % 2 == 0 {
                // Six bits a byte: shrinks to about three quarters.
                for index in content.indices { content[index] &= 0x3f }
            }
            let blob = try encoder.encode(content, compress: true)
            let digest = ChunkDigest(SHA256.hash(data: content))
            _ = try store.chunks.insert(blob, as: digest, length: count, pinning: stage.chunks)
            if checksum.size < UInt64(Self.sampleByteCount) {
                samples.append(Sample(blob: blob, digest: digest, count: count))
            }
            let start = checksum.size
            try checksum.add(DynamicIndexEntry(end: start + UInt64(count), digest: digest))
            try writer.append(digest, length: count, at: start)
            number += 1
        }
        _ = try writer.close(chunkCount: checksum.count, size: checksum.size, checksum: checksum.value.bytes)
        var manifest = Manifest(snapshot: snapshot)
        manifest.add(.init(name: name, cryptMode: .none, size: checksum.size, checksum: checksum.value))
        try stage.writeBlob(.manifest, try manifest.blob())
        try stage.publish(.init(count: 0, size: 0, compressedSize: 0, duplicates: 0)).close()
        return samples
    }

    /// MiB of content a second of bare decoding and digesting, each chunk from memory into memory that is used again.
    private func rate(of samples: [Sample]) throws -> Double {
        let threads = ProcessInformation.processorCount
        let total = samples.reduce(0) { $0 + $1.count }
        let time = try ContinuousClock().measure {
            try Threads.forEach(count: threads, width: threads) { _ in
                let decoder = BlobDecoder()
                let memory = PageMemory(byteCount: BlobLimits.maxChunkContent)
                let room = UnsafeMutableRawBufferPointer(start: memory.base, count: memory.byteCount)
                for sample in samples {
                    let isRight = try sample.blob.withUnsafeBytes { blob in
                        let header = try DataBlobHeader(parsing: Array(blob.prefix(44)))
                        var content = UnsafeRawBufferPointer(rebasing: blob[header.encoding.headerByteCount...])
                        if header.encoding.isCompressed {
                            let count = try decoder.decompress(content, into: room, offset: 0)
                            content = UnsafeRawBufferPointer(rebasing: room[..<count])
                        }
                        var hasher = SHA256()
                        hasher.update(bufferPointer: content)
                        return ChunkDigest(hasher.finalize()) == sample.digest
                    }
                    precondition(isRight, "a chunk decodes to other content")
                }
            }
        }
        return Self.mebibytes(total * threads, time)
    }

    private func rate(of store: Datastore) throws -> Double {
        let verifier = SnapshotVerifier(store, task: "UPID:bench")
        let reader = try store.openReader(snapshot, in: .root, purpose: "the benchmark")
        defer { reader.close() }
        var outcome = VerifyOutcome()
        let time = try ContinuousClock().measure { outcome = try verifier.verify(reader) }
        precondition(outcome.isGood, "the store is damaged: \(outcome.errors)")
        return Self.mebibytes(outcome.contentByteCount, time)
    }

    private static func mebibytes(_ byteCount: Int, _ time: Duration) -> Double {
        Double(byteCount) / 1_048_576
            / (Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18)
    }
}

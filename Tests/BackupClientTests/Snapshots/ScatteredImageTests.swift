import BackupClient
import BackupFormats
import CairnTestSupport
import Testing

@Suite("An image whose chunks come in any order")
struct ScatteredImageTests {
    private static let chunk = 4 << 20
    private static let archive = ArchiveName("disk.img.fidx")

    /// Content that differs from chunk to chunk.
    private func content(_ byteCount: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var bytes = [UInt8](repeating: 0, count: byteCount)
        for start in stride(from: 0, to: byteCount, by: Self.chunk) {
            let mark = random.bytes(min(64, byteCount - start))
            bytes.replaceSubrange(start..<start + mark.count, with: mark)
        }
        return bytes
    }

    /// Sends chunks of `bytes`; what is not named stays as in the base, or zero.
    private func send(
        _ bytes: [UInt8], places: [Int], day: Int, isDelta: Bool, in world: ClientWorld
    ) async throws -> UploadStatistics {
        let archive = try #require(Self.archive)
        let snapshot = try ClientWorld.snapshot(day)
        let transport = try await world.openBackup(snapshot)
        let upload = SnapshotUpload(snapshot, transport: transport, protection: .none)
        try await upload.loadPrevious()
        let previous = try await upload.previousImage(archive)
        #expect(!isDelta || previous != nil)
        let base = isDelta ? previous : nil
        let image = try await upload.beginImage(archive, size: UInt64(bytes.count), base: base)
        for place in places {
            let start = place * Self.chunk
            try await image.put(place, [bytes[start..<start + image.byteCount(of: place)]])
        }
        _ = try await upload.finish(image)
        try await upload.finish()
        await transport.close()
        return upload.engine.counter.current
    }

    private func restored(day: Int, in world: ClientWorld) async throws -> [UInt8] {
        try await world.restore(day: day) { download in
            let image = try await download.openImage(try download.file(named: "disk.img"))
            var bytes: [UInt8] = []
            for place in 0..<image.chunkCount { bytes += try await image.chunk(place) }
            return bytes
        }
    }

    @Test("comes back as it was, holes as zeros")
    func whole() async throws {
        let world = try ClientWorld()
        var bytes = content(5 * Self.chunk + 100, seed: 1)
        bytes.replaceSubrange(2 * Self.chunk..<2 * Self.chunk + 64, with: [UInt8](repeating: 0, count: 64))
        let statistics = try await send(bytes, places: [5, 0, 4, 3, 1], day: 0, isDelta: false, in: world)
        #expect(try await restored(day: 0, in: world) == bytes)
        #expect(statistics.sentChunks == 6)
    }

    @Test("sends and names only what changed")
    func changes() async throws {
        let world = try ClientWorld()
        var bytes = content(6 * Self.chunk, seed: 2)
        _ = try await send(bytes, places: [0, 1, 2, 3, 4, 5], day: 0, isDelta: false, in: world)
        bytes[3 * Self.chunk + 7] ^= 1
        let statistics = try await send(bytes, places: [3, 1], day: 1, isDelta: true, in: world)
        #expect(statistics.sentChunks == 1 && statistics.knownChunks == 1)
        #expect(try await restored(day: 1, in: world) == bytes)
    }

    @Test("grows beyond its base, of which a short last chunk has to come again")
    func growth() async throws {
        let world = try ClientWorld()
        let old = content(2 * Self.chunk + 10, seed: 3)
        _ = try await send(old, places: [0, 1, 2], day: 0, isDelta: false, in: world)
        let new = old + [UInt8](repeating: 0, count: 3 * Self.chunk)
        _ = try await send(new, places: [2], day: 1, isDelta: true, in: world)
        #expect(try await restored(day: 1, in: world) == new)
    }

    @Test("takes each place once, and none behind its end")
    func refusals() async throws {
        let world = try ClientWorld()
        let bytes = content(Self.chunk + 1, seed: 4)
        for places in [[0, 0], [2], [-1]] {
            await #expect(throws: BackupFailure.self) {
                let archive = try #require(Self.archive)
                let snapshot = try ClientWorld.snapshot(0)
                let transport = try await world.openBackup(snapshot)
                let upload = SnapshotUpload(snapshot, transport: transport, protection: .none)
                let image = try await upload.beginImage(archive, size: UInt64(bytes.count))
                do {
                    for place in places { try await image.put(place, [bytes.prefix(Self.chunk)]) }
                } catch {
                    await image.waitUntilIdle()
                    await transport.close()
                    throw error
                }
            }
        }
    }

    @Test("fails with the reason of the chunk that failed, not with what followed from it")
    func failure() async throws {
        let world = try ClientWorld()
        let bytes = content(4 * Self.chunk, seed: 5)
        let snapshot = try ClientWorld.snapshot(0)
        let transport = try await world.openBackup(snapshot)
        let upload = SnapshotUpload(snapshot, transport: transport, protection: .none)
        let image = try await upload.beginImage(try #require(Self.archive), size: UInt64(bytes.count))
        try await image.put(0) { throw BackupFailure(.corruptData, "the base is damaged") }
        let failure = await #expect(throws: BackupFailure.self) {
            for place in 1..<4 {
                let start = place * Self.chunk
                try await image.put(place, [bytes[start..<start + Self.chunk]])
            }
            _ = try await upload.finish(image)
        }
        #expect(failure?.summary == "the base is damaged")
        await image.waitUntilIdle()
        await transport.close()
    }
}

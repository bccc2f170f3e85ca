import BackupClient
import BackupFormats
import BackupProtocol
import Platform
import Tasks

extension ChunkStoreRepository {
    private static let testBytes = 10 << 20
    private static let testArchive = ArchiveName("test.img.fidx")!
    private static let testBlob = ArchiveName("test.blob")!

    /// Writes and reads 10 MiB as chunks, and a blob, in a snapshot that is removed again. Its chunks go with the next
    /// garbage collection.
    func test() async -> JSONObject {
        guard let group = BackupGroup(type: .host, id: "xo-remote-test") else { return ["success": false] }
        let file = "\(group)"
        func failed(_ step: String, _ error: any Error) -> JSONObject {
            ["success": false, "step": .string(step), "file": .string(file), "error": TaskFailure.json(error)]
        }
        let written: (SnapshotName, [UInt8], Duration)
        do { written = try await writeTest(group) } catch { return failed("write", error) }
        let (snapshot, content, writeTime) = written
        let readTime: Duration
        do { readTime = try await readTest(snapshot, content) } catch {
            try? await remove(snapshot)
            return failed("read", error)
        }
        do { try await remove(snapshot) } catch { return failed("read", error) }
        return ["success": true, "writeRate": Self.rate(writeTime), "readRate": Self.rate(readTime)]
    }

    /// Bytes per second.
    private static func rate(_ time: Duration) -> JSONValue {
        let nanoseconds = max(1, time.components.seconds * 1_000_000_000 + time.components.attoseconds / 1_000_000_000)
        return .integer(Int64(Double(testBytes) / Double(nanoseconds) * 1e9))
    }

    private func writeTest(_ group: BackupGroup) async throws -> (SnapshotName, [UInt8], Duration) {
        let content = try await stores.workers.run { try SystemRandom.bytes(Self.testBytes) }
        let start = ContinuousClock.now
        let (snapshot, transport) = try await openSession(of: group, at: stores.time.seconds)
        let upload = SnapshotUpload(
            snapshot, transport: transport, protection: .none, memoryLimit: ChunkStoreWriter.memoryLimit)
        do {
            let image = try await upload.beginImage(Self.testArchive, size: UInt64(Self.testBytes))
            var offset = 0
            for place in 0..<image.chunkCount {
                let end = offset + image.byteCount(of: place)
                try await image.put(place, [content[offset..<end]])
                offset = end
            }
            _ = try await upload.finish(image)
            try await upload.sendBlob(Self.testBlob, content: Array(content.prefix(1024)))
            _ = try await upload.finish()
        } catch {
            await transport.close()
            throw error
        }
        await transport.close()
        return (snapshot, content, ContinuousClock.now - start)
    }

    private func readTest(_ snapshot: SnapshotName, _ content: [UInt8]) async throws -> Duration {
        let start = ContinuousClock.now
        let transport = try await connection.openReader(snapshot)
        do {
            let download = try await SnapshotDownload.open(snapshot, transport: transport, key: nil)
            guard let file = download.manifest.file(Self.testArchive),
                let blob = download.manifest.file(Self.testBlob)
            else { throw BackupFailure(.corruptData, "What was written is not there") }
            let image = try await download.openImage(file)
            var offset = 0
            for place in 0..<image.chunkCount {
                let chunk = try await image.chunk(place)
                let wanted = content[offset..<min(content.count, offset + chunk.count)]
                guard ChunkDigest(hashing: chunk) == ChunkDigest(hashing: wanted) else {
                    throw BackupFailure(.corruptData, "The bytes that were read are not those that were written")
                }
                offset += chunk.count
            }
            let isSame = try await download.blob(blob) == Array(content.prefix(1024))
            guard offset == content.count, isSame else {
                throw BackupFailure(.corruptData, "The bytes that were read are not those that were written")
            }
        } catch {
            await transport.close()
            throw error
        }
        await transport.close()
        return ContinuousClock.now - start
    }
}

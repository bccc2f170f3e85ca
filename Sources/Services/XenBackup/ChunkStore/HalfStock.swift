import BackupFormats
import Platform
import VirtualDisks

/// Blocks that wait for the other half of their chunk: a few in memory, further ones in a file without a name. Used by
/// one task.
actor HalfStock {
    /// Blocks in memory: 16 MiB.
    static let memoryCount = 8

    private var inMemory: [Int: [UInt8]] = [:]
    /// Places in the file, by block.
    private var inFile: [Int: Int] = [:]
    private var freePlaces: [Int] = []
    private var placeCount = 0
    private var file: OpenFile?
    private let folder: String
    private let workers: WorkerPool

    /// - Parameter folder: Where the file is made, if one is needed.
    init(folder: String, workers: WorkerPool) {
        self.folder = folder
        self.workers = workers
    }

    /// Blocks that wait, ascending.
    var waiting: [Int] { (Array(inMemory.keys) + inFile.keys).sorted() }

    func put(_ index: Int, _ bytes: [UInt8]) async throws {
        guard inMemory[index] == nil, inFile[index] == nil else {
            throw BackupFailure(.corruptData, "Block \(index) of the disk came twice")
        }
        guard inMemory.count >= Self.memoryCount else {
            inMemory[index] = bytes
            return
        }
        let file = try await openFile()
        let place = freePlaces.popLast() ?? placeCount
        placeCount = max(placeCount, place + 1)
        try await workers.run {
            do throws(SystemError) { try file.write(bytes, at: place * DiskGeometry.blockBytes) } catch {
                throw error.failure("A block that waits for its neighbour cannot be kept")
            }
        }
        inFile[index] = place
    }

    /// Takes a block out; nil where it does not wait.
    func take(_ index: Int) async throws -> [UInt8]? {
        if let bytes = inMemory.removeValue(forKey: index) { return bytes }
        guard let place = inFile.removeValue(forKey: index), let file else { return nil }
        let bytes = try await workers.run {
            do throws(SystemError) {
                return try file.read(at: place * DiskGeometry.blockBytes, count: DiskGeometry.blockBytes)
            } catch {
                throw error.failure("A block that waited for its neighbour cannot be read")
            }
        }
        freePlaces.append(place)
        return bytes
    }

    private func openFile() async throws -> OpenFile {
        if let file { return file }
        let new = try await workers.run { [folder] in
            do {
                try FileSystem.makeFolders(folder, mode: 0o700)
                let path = "\(folder)/blocks-\(Hex.encode(try SystemRandom.uuid()))"
                let file = try OpenFile(path, .makeNew(mode: 0o600))
                // It lives as long as it is open.
                _ = try FileSystem.removeFile(path)
                return file
            } catch let error as SystemError {
                throw error.failure("No temporary file can be made in \(folder)")
            }
        }
        file = new
        return new
    }
}

import BackupFormats
import Crypto
import Datastore
import Glibc
import Platform
import Synchronization

/// Garbage collection of a real folder: the mark phase beside touching files, as other software marks; the sweep beside a
/// plain walk of the same folders; the memory of the whole process.
struct CollectionBench {
    private static let markGoals = ("(goal ≥ 10)", "(goal ≥ 3)")
    private static let memoryGoal = "(goal < 100 at a million chunks)"
    private static let rounds = 3
    private static let indexCount = 20
    /// References of one index: half of the chunks each, so that each chunk is referenced ten times.
    private let referencesPerIndex: Int
    private let chunkCount: Int

    /// - Parameter chunkCount: A million for the goals.
    init(chunkCount: Int = 1_000_000) {
        self.chunkCount = chunkCount
        referencesPerIndex = chunkCount / 2
    }

    /// Makes a store in the folder for temporary files and removes it again.
    func run() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        let folder = try FileSystem.makeTemporaryFolder(in: parent, prefix: "cairn-bench")
        defer { _ = try? FileSystem.removeTree(folder) }
        let path = "\(folder)/store"
        var options = StoreOptions()
        options.syncLevel = .none
        try Datastore.create(name: "bench", at: path, options: options)
        let threads = max(4, ProcessInformation.processorCount)
        try makeChunks(path, threads)
        for index in 0..<Self.indexCount { try makeIndex(path, index) }
        let store = try Datastore.open(name: "bench", at: path, options: options)

        var (mark, sweep) = (Double.infinity, Double.infinity)
        var (walk, walkAlone) = (Double.infinity, Double.infinity)
        for _ in 0..<Self.rounds {
            walk = min(walk, try seconds { try walkFolders(path, threads) })
            let times = try collect(store, threads)
            (mark, sweep) = (min(mark, times.mark), min(sweep, times.sweep))
        }
        let peak = peakMebibytes()
        walkAlone = try seconds { try walkFolders(path, 1) }
        let distinct = try seconds { try touchDistinct(path) }
        let each = try seconds { for index in 0..<Self.indexCount { try touchReferences(path, index) } }
        // Half of the indexes go, and with them half of the chunks.
        for index in stride(from: 1, to: Self.indexCount, by: 2) { try FileSystem.removeTree(indexFolder(path, index)) }
        let removal = try collect(store, threads)
        try store.close()

        let references = referencesPerIndex * Self.indexCount
        print(
            "garbage collection: \(references) references to \(chunkCount) chunks, \(Self.indexCount) indexes, warm caches"
        )
        print(line("mark phase", mark, references, "references"))
        print(line("touch per reference", each, references, "references", ratio: each / mark, Self.markGoals.0))
        print(line("touch per chunk", distinct, chunkCount, "chunks", ratio: distinct / mark, Self.markGoals.1))
        print("peak memory of the process   \(peak) MiB  \(Self.memoryGoal)")
        print(line("plain walk, \(threads) threads", walk, chunkCount, "files"))
        print(line("plain walk, one thread", walkAlone, chunkCount, "files"))
        print(line("sweep, \(threads) threads", sweep, chunkCount, "files", ratio: walk / sweep, "(goal about 1)"))
        print(line("sweep that removes half", removal.sweep, chunkCount, "files"))
    }

    private func line(
        _ name: String, _ seconds: Double, _ count: Int, _ things: String, ratio: Double? = nil, _ goal: String = ""
    ) -> String {
        func fixed(_ value: Double) -> String {
            let hundredths = Int((value * 100).rounded())
            return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
        }
        let padded = name + String(repeating: " ", count: max(1, 28 - name.count))
        let rate = "\(fixed(seconds)) s, \(Int(Double(count) / seconds / 1000)) thousand \(things)/s"
        return "\(padded) \(rate)" + (ratio.map { "  ratio \(fixed($0))  \(goal)" } ?? "")
    }

    private func seconds(_ body: () throws -> Void) rethrows -> Double {
        seconds(try ContinuousClock().measure(body))
    }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    // MARK: The store

    /// A digest for each number, made anew each time, so that the benchmark itself needs no memory for them.
    private static func digest(_ number: Int) -> SIMD4<UInt64> {
        var words = SIMD4<UInt64>.zero
        for place in 0..<4 {
            var z = UInt64(truncatingIfNeeded: number &* 4 &+ place &+ 1) &* 0x9e37_79b9_7f4a_7c15
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            words[place] = z ^ (z >> 31)
        }
        return words
    }

    /// Writes the path of a chunk, ended by zero, behind the folder of the chunks.
    private static func append(_ digest: UnsafeRawBufferPointer, to path: inout [CChar], at start: Int) {
        func digit(_ value: UInt8) -> CChar {
            CChar(value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10)
        }
        for index in 0..<32 {
            let (high, low) = (digit(digest[index] >> 4), digit(digest[index] & 15))
            if index < 2 { (path[start + 2 * index], path[start + 2 * index + 1]) = (high, low) }
            (path[start + 5 + 2 * index], path[start + 6 + 2 * index]) = (high, low)
        }
        path[start + 4] = CChar(UInt8(ascii: "/"))
        path[start + 69] = 0
    }

    private static func chunkPath(below path: String) -> (buffer: [CChar], start: Int) {
        let folder = "\(path)/.chunks/".utf8.map { CChar(bitPattern: $0) }
        return (folder + [CChar](repeating: 0, count: 70), folder.count)
    }

    /// Empty files: what they hold does not matter here.
    private func makeChunks(_ path: String, _ threads: Int) throws {
        let count = chunkCount
        try Threads.forEach(count: threads, width: threads) { part in
            var (buffer, start) = Self.chunkPath(below: path)
            for number in stride(from: part, to: count, by: threads) {
                withUnsafeBytes(of: Self.digest(number)) { Self.append($0, to: &buffer, at: start) }
                let descriptor = open(buffer, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
                precondition(descriptor >= 0, "a chunk file cannot be made")
                close(descriptor)
            }
        }
    }

    private func indexFolder(_ path: String, _ index: Int) -> String {
        "\(path)/host/machine-\(index)/2024-06-01T00:00:00Z"
    }

    /// Ends `.didx` and `.fidx` in turn for each half of the chunks.
    private func indexFile(_ path: String, _ index: Int) -> String {
        indexFolder(path, index) + (index % 4 < 2 ? "/root.pxar.didx" : "/disk.img.fidx")
    }

    private func makeIndex(_ path: String, _ index: Int) throws {
        try FileSystem.makeFolders(indexFolder(path, index), mode: 0o755)
        let isFixed = index % 4 >= 2
        let file = try OpenFile(indexFile(path, index), .makeNew(mode: 0o644))
        let first = index % 2 * referencesPerIndex
        var hasher = SHA256()
        var offset = IndexLayout.headerByteCount
        var table: [UInt8] = []
        for number in 0..<referencesPerIndex {
            if !isFixed { table.appendLittleEndian(UInt64(number + 1) << 22) }
            withUnsafeBytes(of: Self.digest(first + number)) { table += $0 }
            if table.count >= 1 << 20 || number == referencesPerIndex - 1 {
                hasher.update(data: table)
                try file.write(table, at: offset)
                offset += table.count
                table = []
            }
        }
        let checksum = ChunkDigest(hasher.finalize())
        let uuid = SIMD16<UInt8>(repeating: 1)
        let head =
            isFixed
            ? try FixedIndexHeader(
                uuid: uuid, creationTime: 0, size: UInt64(referencesPerIndex) << 22, checksum: checksum
            ).encoded : DynamicIndexHeader(uuid: uuid, creationTime: 0, checksum: checksum).encoded
        try file.write(head, at: 0)
    }

    // MARK: What is measured

    private func collect(_ store: Datastore, _ threads: Int) throws -> (mark: Double, sweep: Double) {
        let clock = ContinuousClock()
        let instants = Mutex<[ContinuousClock.Instant]>([])
        let observer = CollectionObserver(
            log: { line in
                guard line.hasPrefix("Start GC") || line.hasPrefix("swept") else { return }
                instants.withLock { $0.append(clock.now) }
            }, warn: { print("warning: \($0)") })
        _ = try store.reserveCollection().collect(task: "UPID:bench", width: threads, observer: observer)
        let seen = instants.withLock { $0 }
        precondition(seen.count == 3, "the log has other lines than expected")
        return (seconds(seen[0].duration(to: seen[1])), seconds(seen[1].duration(to: seen[2])))
    }

    private static func touch(_ path: [CChar]) {
        // Access time now, modification time as it is.
        let times = [timespec(tv_sec: 0, tv_nsec: (1 << 30) - 1), timespec(tv_sec: 0, tv_nsec: (1 << 30) - 2)]
        times.withUnsafeBufferPointer { times in
            precondition(utimensat(AT_FDCWD, path, times.baseAddress, AT_SYMLINK_NOFOLLOW) == 0, "touching fails")
        }
    }

    /// What a mark phase does without a cache: one touch for each reference, in the order of the index.
    private func touchReferences(_ path: String, _ index: Int) throws {
        let file = try OpenFile(indexFile(path, index))
        let isFixed = index % 4 >= 2
        let size = try file.byteCount()
        var (buffer, start) = Self.chunkPath(below: path)
        var offset = IndexLayout.headerByteCount
        while offset < size {
            let piece = try file.read(at: offset, count: 160 * 8192)
            piece.withUnsafeBytes { bytes in
                for place in stride(from: isFixed ? 0 : 8, to: bytes.count, by: isFixed ? 32 : 40) {
                    Self.append(UnsafeRawBufferPointer(rebasing: bytes[place..<place + 32]), to: &buffer, at: start)
                    Self.touch(buffer)
                }
            }
            offset += piece.count
        }
    }

    /// What it does at least with a cache that forgets nothing and costs nothing: one touch for each chunk.
    private func touchDistinct(_ path: String) throws {
        var (buffer, start) = Self.chunkPath(below: path)
        for number in 0..<chunkCount {
            withUnsafeBytes(of: Self.digest(number)) { Self.append($0, to: &buffer, at: start) }
            Self.touch(buffer)
        }
    }

    /// readdir and fstatat of all files.
    private func walkFolders(_ path: String, _ threads: Int) throws {
        let found = Atomic(0)
        let box = Box(found)
        try Threads.forEach(count: 256, width: threads) { block in
            var seen = 0
            for prefix in block << 8..<(block + 1) << 8 {
                let hex = String(prefix, radix: 16)
                let name = String(repeating: "0", count: 4 - hex.count) + hex
                guard let folder = opendir("\(path)/.chunks/\(name)") else { continue }
                defer { closedir(folder) }
                while let entry = readdir(folder) {
                    let name = UnsafeRawPointer(entry).advanced(by: 19).assumingMemoryBound(to: CChar.self)
                    guard name.pointee != CChar(UInt8(ascii: ".")) else { continue }
                    var status = stat()
                    if fstatat(dirfd(folder), name, &status, AT_SYMLINK_NOFOLLOW) == 0 { seen += 1 }
                }
            }
            box.value.wrappingAdd(seen, ordering: .relaxed)
        }
        precondition(box.value.load(ordering: .relaxed) == chunkCount, "the walk has seen other files")
    }

    private final class Box: Sendable {
        let value: Atomic<Int>
        init(_ value: consuming Atomic<Int>) { self.value = value }
    }

    /// The most memory that the process has had, in MiB.
    private func peakMebibytes() -> Int {
        let text = (try? FileSystem.read("/proc/self/status", limit: 1 << 16)).map {
            String(decoding: $0, as: UTF8.self)
        }
        let line = text?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        let kibibytes = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }
        return (kibibytes ?? 0) / 1024
    }
}

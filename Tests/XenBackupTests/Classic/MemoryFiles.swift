import BackupFormats
import CairnTestSupport
import Synchronization

@testable import XenBackup

/// Files in memory that die on command, as a machine does, and say what is left then.
///
/// What is durable is told from what is only written: positional writes count after `sync`; whole files, names and folders
/// at once, as the protocol promises. Each writing call is one operation; from the `dyingAt`-th on all calls fail.
final class MemoryFiles: RemoteFiles {
    /// How the machine ended.
    enum End: CustomStringConvertible {
        /// The process was killed: all that was written stays, of the last write some sectors.
        case kill
        /// The power failed: of what was not synced, each write stays or not, or some sectors of it.
        case power

        var description: String { self == .kill ? "kill" : "power" }
    }

    struct Died: Error {}

    fileprivate struct Node {
        var content: [UInt8] = []
        var durable: [UInt8] = []
        var pending: [Change] = []
    }

    fileprivate enum Change {
        case write([UInt8], at: Int)
        case cut(Int)

        func apply(to bytes: inout [UInt8], sectors: Set<Int>? = nil) {
            switch self {
            case .cut(let size):
                if size < bytes.count {
                    bytes.removeLast(bytes.count - size)
                } else {
                    bytes += [UInt8](repeating: 0, count: size - bytes.count)
                }
            case .write(let new, let offset):
                if bytes.count < offset + new.count {
                    bytes += [UInt8](repeating: 0, count: offset + new.count - bytes.count)
                }
                let ranges =
                    sectors?.map { ($0 * 512..<$0 * 512 + 512).clamped(to: offset..<offset + new.count) }
                    ?? [offset..<offset + new.count]
                bytes.withUnsafeMutableBytes { target in
                    new.withUnsafeBytes { source in
                        for range in ranges where !range.isEmpty {
                            UnsafeMutableRawBufferPointer(rebasing: target[range]).copyMemory(
                                from: UnsafeRawBufferPointer(
                                    rebasing: source[range.lowerBound - offset..<range.upperBound - offset]))
                        }
                    }
                }
            }
        }
    }

    private struct State {
        var nodes: [Int: Node] = [:]
        var names: [String: Int] = [:]
        var folders: Set<String> = [""]
        var locks: Set<String> = []
        var nextNode = 0
        var operations = 0
        var dyingAt = Int.max
        var isDead = false
        var torn: (node: Int, change: Change)?
        var stamp = 1
        var broken: [String: BackupFailure] = [:]
        var protected: Set<String> = []
    }

    let capabilities: RemoteCapabilities
    private let state: Mutex<State>

    init(isFileSystem: Bool = true, isImmutable: Bool = false, usesBlockFolders: Bool = false) {
        var capabilities = RemoteCapabilities(isFileSystem: isFileSystem, isImmutable: isImmutable)
        capabilities.usesBlockFolders = usesBlockFolders
        self.capabilities = capabilities
        state = Mutex(State())
    }

    private init(_ state: State, _ capabilities: RemoteCapabilities) {
        self.capabilities = capabilities
        self.state = Mutex(state)
    }

    // MARK: Dying

    /// Writing operations so far.
    var operations: Int { state.withLock { $0.operations } }

    /// The same files again, as if all were durable, with a life of their own.
    func copy(dyingAt: Int = .max) -> MemoryFiles {
        var copy = state.withLock { $0 }
        copy.operations = 0
        copy.dyingAt = dyingAt
        copy.isDead = false
        copy.torn = nil
        copy.locks = []
        copy.nodes = copy.nodes.mapValues { Node(content: $0.content, durable: $0.content) }
        return MemoryFiles(copy, capabilities)
    }

    var isDead: Bool { state.withLock { $0.isDead } }

    /// What the next start finds.
    func afterDeath(_ end: End, using random: inout SeededRandom) -> MemoryFiles {
        var left = state.withLock { $0 }
        for key in left.nodes.keys.sorted() {
            guard var node = left.nodes[key] else { continue }
            switch end {
            case .kill:
                if let torn = left.torn, torn.node == key {
                    torn.change.apply(to: &node.content, sectors: Self.someSectors(of: torn.change, &random))
                }
            case .power:
                var bytes = node.durable
                for change in node.pending {
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: break
                    case 1: change.apply(to: &bytes)
                    default: change.apply(to: &bytes, sectors: Self.someSectors(of: change, &random))
                    }
                }
                node.content = bytes
            }
            node.durable = node.content
            node.pending = []
            left.nodes[key] = node
        }
        left.locks = []
        left.isDead = false
        left.dyingAt = .max
        left.operations = 0
        left.torn = nil
        return MemoryFiles(left, capabilities)
    }

    private static func someSectors(of change: Change, _ random: inout SeededRandom) -> Set<Int> {
        guard case .write(let bytes, let offset) = change, !bytes.isEmpty else { return [] }
        let range = offset / 512...(offset + bytes.count - 1) / 512
        // A beginning, an end, or a few of them.
        let middle = Int.random(in: range, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: return Set(range.lowerBound..<middle)
        case 1: return Set(middle...range.upperBound)
        default: return Set((0..<4).map { _ in Int.random(in: range, using: &random) })
        }
    }

    /// Makes reading calls that concern a path fail.
    func breakPath(_ path: String, _ failure: BackupFailure?) { state.withLock { $0.broken[path] = failure } }

    /// Makes a file one that cannot be removed.
    func protect(_ path: String) { state.withLock { _ = $0.protected.insert(path) } }

    /// All paths of files, sorted.
    var paths: [String] { state.withLock { $0.names.keys.sorted() } }

    func content(_ path: String) -> [UInt8]? {
        state.withLock { state in state.names[path].flatMap { state.nodes[$0]?.content } }
    }

    // MARK: Reading

    private func reading<Value>(_ path: String, _ body: (inout State) throws -> Value) throws -> Value {
        try state.withLock { state in
            if state.isDead { throw Died() }
            if let failure = state.broken[path] { throw failure }
            return try body(&state)
        }
    }

    private static func node(_ path: String, _ state: State) throws -> Int {
        guard let node = state.names[path] else {
            if state.folders.contains(path) { throw BackupFailure(.invalidInput, "\(path) is a folder") }
            throw BackupFailure(.notFound, "\(path) is missing")
        }
        return node
    }

    func list(_ folder: String) async throws -> [String] {
        try reading(folder) { state in
            if state.names[folder] != nil { throw BackupFailure(.internalFault, "\(folder) is no folder") }
            let prefix = folder.isEmpty ? "" : folder + "/"
            let isThere =
                capabilities.isFileSystem
                ? state.folders.contains(folder) : state.names.keys.contains { $0.hasPrefix(prefix) }
            guard isThere else { throw BackupFailure(.notFound, "\(folder) is missing") }
            let below = (Array(state.names.keys) + Array(state.folders)).filter { $0.hasPrefix(prefix) && $0 != folder }
            return Set(below.map { String($0.dropFirst(prefix.count).prefix { $0 != "/" }) }).filter { !$0.isEmpty }
                .sorted()
        }
    }

    func size(of path: String) async throws -> UInt64 {
        try reading(path) { state in UInt64(state.nodes[try Self.node(path, state)]?.content.count ?? 0) }
    }

    func read(_ path: String, limit: Int) async throws -> [UInt8] {
        try reading(path) { state in
            let bytes = state.nodes[try Self.node(path, state)]?.content ?? []
            guard bytes.count <= limit else { throw BackupFailure(.invalidInput, "\(path) is too long") }
            return bytes
        }
    }

    func read(_ path: String, at offset: UInt64, count: Int) async throws -> [UInt8] {
        try reading(path) { state in
            Self.slice(state.nodes[try Self.node(path, state)]?.content ?? [], offset, count)
        }
    }

    fileprivate static func slice(_ bytes: [UInt8], _ offset: UInt64, _ count: Int) -> [UInt8] {
        let start = min(bytes.count, Int(clamping: offset))
        return Array(bytes[start..<min(bytes.count, start + count)])
    }

    func stream(_ path: String) async throws -> any ByteSource { BytesSource(try await read(path, limit: .max)) }

    // MARK: Writing

    /// - Parameter tear: What may be done in part when this is the end.
    private func writing<Value>(
        tear: (inout State) -> (node: Int, change: Change)? = { _ in nil }, _ body: (inout State) throws -> Value
    ) throws -> Value {
        try state.withLock { state in
            if state.isDead { throw Died() }
            state.operations += 1
            if state.operations >= state.dyingAt {
                state.isDead = true
                state.torn = tear(&state)
                throw Died()
            }
            return try body(&state)
        }
    }

    private static func makeFolders(_ path: String, _ state: inout State) {
        var folder = path
        while !folder.isEmpty {
            state.folders.insert(folder)
            folder = ClassicPath.folder(of: folder)
        }
    }

    private static func enter(_ path: String, _ node: Node, _ mode: WriteMode, _ state: inout State) throws {
        guard mode == .replace || state.names[path] == nil else { throw BackupFailure(.conflict, "\(path) exists") }
        makeFolders(ClassicPath.folder(of: path), &state)
        state.nextNode += 1
        state.nodes[state.nextNode] = node
        state.names[path] = state.nextNode
    }

    func write(_ path: String, _ bytes: [UInt8], _ mode: WriteMode) async throws {
        _ = try await write(path, from: BytesSource(bytes), maxByteCount: nil, mode)
    }

    /// Two operations: the hidden file, and its name.
    func write(
        _ path: String, from source: any ByteSource, maxByteCount: UInt64?, _ mode: WriteMode
    ) async throws -> UInt64 {
        var bytes: [UInt8] = []
        while let piece = try await source.read(upTo: 1 << 20) { bytes += piece }
        let node = Node(content: bytes, durable: bytes)
        let folder = ClassicPath.folder(of: path)
        guard capabilities.isFileSystem else {
            try writing { state in try Self.enter(path, node, mode, &state) }
            return UInt64(bytes.count)
        }
        let hidden = try writing { state in
            state.stamp += 1
            let hidden = (folder.isEmpty ? "" : folder + "/") + ".\(state.stamp).\(ClassicPath.name(of: path))"
            try Self.enter(hidden, Node(content: Array(bytes.prefix(bytes.count / 2))), .replace, &state)
            return hidden
        }
        do {
            try writing { state in
                try Self.enter(path, node, mode, &state)
                state.names[hidden] = nil
            }
        } catch let failure as BackupFailure {
            state.withLock { $0.names[hidden] = nil }
            throw failure
        }
        return UInt64(bytes.count)
    }

    func open(_ path: String, _ access: RemoteFileAccess) async throws -> any RemoteFile {
        let node: Int
        switch access {
        case .read, .update:
            node = try reading(path) { state in try Self.node(path, state) }
        case .create:
            node = try writing { state in
                try Self.enter(path, Node(), .new, &state)
                return state.nextNode
            }
        }
        return File(files: self, node: node)
    }

    func move(_ path: String, to target: String, _ mode: WriteMode) async throws {
        try writing { state in
            let node = try Self.node(path, state)
            guard mode == .replace || state.names[target] == nil else {
                throw BackupFailure(.conflict, "\(target) exists")
            }
            Self.makeFolders(ClassicPath.folder(of: target), &state)
            state.names[path] = nil
            state.names[target] = node
        }
    }

    func remove(_ path: String) async throws {
        try writing { state in
            if state.folders.contains(path) { throw BackupFailure(.invalidInput, "\(path) is a folder") }
            if state.protected.contains(path) { throw BackupFailure(.notAuthorized, "\(path) is protected") }
            state.names[path] = nil
        }
    }

    /// One operation for each file.
    func removeTree(_ path: String) async throws {
        let below = try reading(path) { state in state.names.keys.filter { $0 == path || $0.hasPrefix(path + "/") } }
        for file in below.sorted() { try writing { state in state.names[file] = nil } }
        try writing { state in state.folders = state.folders.filter { $0 != path && !$0.hasPrefix(path + "/") } }
    }

    func makeFolder(_ path: String) async throws { try writing { state in Self.makeFolders(path, &state) } }

    func lock(_ path: String, patience: Duration) async throws -> any RemoteLock {
        let isFree = try reading(path) { $0.locks.insert(path).inserted }
        guard isFree else { throw BackupFailure(.conflict, "Lock file is already being held") }
        return Lock(files: self, path: path)
    }

    fileprivate func unlock(_ path: String) { state.withLock { _ = $0.locks.remove(path) } }

    func info() async throws -> JSONObject { ["size": 1000, "used": 10, "available": 990] }
    func close() async {}

    private final class Lock: RemoteLock {
        let files: MemoryFiles
        let path: String

        init(files: MemoryFiles, path: String) {
            self.files = files
            self.path = path
        }

        var isHeld: Bool { true }
        func release() async { files.unlock(path) }
    }

    private final class File: RemoteFile {
        let files: MemoryFiles
        let node: Int

        init(files: MemoryFiles, node: Int) {
            self.files = files
            self.node = node
        }

        func size() async throws -> UInt64 {
            try files.reading("") { UInt64($0.nodes[node]?.content.count ?? 0) }
        }

        func read(at offset: UInt64, count: Int) async throws -> [UInt8] {
            try files.reading("") { MemoryFiles.slice($0.nodes[node]?.content ?? [], offset, count) }
        }

        func write(_ bytes: [UInt8], at offset: UInt64) async throws { try change(.write(bytes, at: Int(offset))) }
        func truncate(to size: UInt64) async throws { try change(.cut(Int(size))) }

        private func change(_ change: Change) throws {
            try files.writing(tear: { _ in (node, change) }) { state in
                guard state.nodes[node] != nil else { return }
                state.nodes[node]?.pending.append(change)
                change.apply(to: &state.nodes[node]!.content)
            }
        }

        func sync() async throws {
            try files.writing { state in
                guard var value = state.nodes[node] else { return }
                value.durable = value.content
                value.pending = []
                state.nodes[node] = value
            }
        }

        func close() async {}
    }
}

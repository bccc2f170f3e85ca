import BackupFormats
import Platform
import Pxar

/// One run of a ``TreeArchiver``.
///
/// Invariant: `levels`, the encoder's open folders and the catalog's open
/// folders below the archive's own are the same folders.
final class ArchiveWalk {
    private struct Level {
        let folder: OpenNode
        /// Sorted; those that are still to come stand at the end, reversed.
        var names: [[UInt8]]
        /// Rules before this folder's own.
        let ruleCount: Int
        let device: UInt64
        let isFAT: Bool
    }

    private struct LinkTarget {
        let position: UInt64
        let path: [UInt8]
    }

    private let root: OpenNode
    private let rootPath: String
    private let options: TreeArchiveOptions
    private let patterns: [PathPattern]
    private let devices: Set<UInt64>
    private let warn: (TreeWarning) -> Void
    private let output: ArchiveOutput
    private(set) var catalog: TreeCatalog?

    private var levels: [Level] = []
    /// Names from the root to the current entry.
    private var path: [[UInt8]] = []
    private var rules: ExcludeRules
    private var links: [NodeIdentity: LinkTarget] = [:]
    private var summary = TreeSummary()
    /// Bytes of items on their way to `output`.
    private var items: [UInt8] = []

    init(
        root: OpenNode, rootPath: String, options: TreeArchiveOptions, patterns: [PathPattern], devices: Set<UInt64>,
        catalog: TreeCatalog?, warn: @escaping (TreeWarning) -> Void, output: ArchiveOutput
    ) {
        self.root = root
        self.rootPath = rootPath
        self.options = options
        self.patterns = patterns
        self.devices = devices
        self.catalog = catalog
        self.warn = warn
        self.output = output
        rules = ExcludeRules(commandLine: patterns)
    }

    func run(archiveName: String) throws -> TreeSummary {
        do {
            let info = try root.info()
            let isFAT = NodeMetadata.isFAT(root)
            let metadata = try metadata(of: root, info, isFAT: isFAT)
            var encoder = try PxarEncoder(root: metadata, into: &items)
            try output.take(&items)
            try catalog?.begin(Array(archiveName.utf8))
            summary.entries = 1
            try enter(root, device: info.identity.device, isFAT: isFAT)
            while let level = levels.indices.last {
                if let name = levels[level].names.popLast() {
                    path.append(name)
                    try visit(name, &encoder)
                    // A folder that was entered keeps its name until it is left.
                    if levels.count == level + 1 { path.removeLast() }
                } else {
                    if level == 0 { try addCommandLinePatterns(&encoder) }
                    try leave(&encoder)
                }
            }
            try output.flush()
            try catalog?.flush()
            summary.bytes = encoder.position
            return summary
        } catch let error as SystemError {
            throw error.failure("\(display) cannot be read")
        } catch let error as FormatError {
            throw BackupFailure(.invalidInput, "\(display) cannot be archived", cause: error)
        }
    }

    /// The current entry's path for people.
    private var display: String {
        path.isEmpty ? rootPath : path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
    }

    private func warning(_ reason: String) {
        summary.warnings += 1
        warn(TreeWarning(path: display, reason: reason))
    }

    private func enter(_ folder: OpenNode, device: UInt64, isFAT: Bool) throws {
        let ruleCount = rules.count
        try readRules(of: folder)
        var names = try list(folder)
        if levels.isEmpty { names.removeAll { $0 == ExcludeRules.commandLineFileName } }
        names.sort { $1.lexicographicallyPrecedes($0) }
        levels.append(Level(folder: folder, names: names, ruleCount: ruleCount, device: device, isFAT: isFAT))
    }

    private func list(_ folder: OpenNode) throws -> [[UInt8]] {
        do throws(SystemError) {
            return try folder.names(limit: options.entriesMax)
        } catch {
            throw error.isTooMany ? tooManyEntries : error
        }
    }

    private func leave(_ encoder: inout PxarEncoder) throws {
        let level = levels.removeLast()
        rules.restore(count: level.ruleCount)
        encoder.endDirectory(into: &items)
        try output.take(&items)
        try catalog?.end()
        if !levels.isEmpty { path.removeLast() }
    }

    private var tooManyEntries: BackupFailure {
        BackupFailure(
            .invalidInput, "The folder \(rootPath) has more than \(options.entriesMax) entries",
            hints: ["Raise --entries-max if that is intended."])
    }

    /// Writes the entry named `name` of the current folder, or leaves it out.
    private func visit(_ name: [UInt8], _ encoder: inout PxarEncoder) throws {
        let level = levels[levels.count - 1]
        let entries = summary.entries
        do {
            let info = try level.folder.info(of: name)
            guard !rules.excludes(path, isFolder: info.kind == .folder) else { return }
            summary.entries += 1
            guard summary.entries <= options.entriesMax else { throw tooManyEntries }
            switch info.kind {
            case .folder: try visitFolder(name, in: level, &encoder)
            case .file: try visitFile(name, info, in: level, &encoder)
            case .link, .blockDevice, .characterDevice, .fifo, .socket:
                try visitOther(name, info, in: level, &encoder)
            case nil: warning("left out: an unknown kind of file")
            }
        } catch let error as SystemError where error.isVanished {
            summary.entries = entries
            warning("vanished while it was being read")
        } catch let error as SystemError where error.isDenied {
            summary.entries = entries
            warning("left out: \(error)")
        }
    }

    private func visitFolder(_ name: [UInt8], in level: Level, _ encoder: inout PxarEncoder) throws {
        let folder = try level.folder.open(name, .folder)
        let info = try folder.info()
        let device = info.identity.device
        let isMountPoint = device != level.device
        if options.skipsLostAndFound, levels.count == 1 || isParentMountPoint(level), name == Self.lostAndFound {
            summary.entries -= 1
            return
        }
        let isFAT = isMountPoint ? NodeMetadata.isFAT(folder) : level.isFAT
        let metadata = try metadata(of: folder, info, isFAT: isFAT)
        let isEntered = try !isMountPoint || mayEnter(folder, device: device)
        // Before anything is written, so that a folder that cannot be listed is left out as a whole.
        if isEntered { try enter(folder, device: device, isFAT: isFAT) }
        try encoder.beginDirectory(name, metadata, into: &items)
        try output.take(&items)
        try catalog?.begin(name)
        if !isEntered {
            warning("left empty: another file system is mounted here")
            encoder.endDirectory(into: &items)
            try output.take(&items)
            try catalog?.end()
        }
    }

    private static let lostAndFound = Array("lost+found".utf8)

    /// Whether the folder of `level` is the root of a file system.
    private func isParentMountPoint(_ level: Level) -> Bool {
        levels.count > 1 && levels[levels.count - 2].device != level.device
    }

    private func mayEnter(_ folder: OpenNode, device: UInt64) throws -> Bool {
        if devices.contains(device) { return true }
        if levels.first?.device == device { return true }
        return try options.crossesFileSystems && !VirtualFileSystem.isVirtual(folder.fileSystemMagic())
    }

    private func visitFile(
        _ name: [UInt8], _ before: NodeInfo, in level: Level, _ encoder: inout PxarEncoder
    ) throws {
        if before.linkCount > 1, let target = links[before.identity] {
            try encoder.addHardLink(name, target: target.position, path: target.path, into: &items)
            try output.take(&items)
            try catalog?.addHardLink(name)
            return
        }
        let file = try level.folder.open(name, .reading)
        let info = try file.info()
        guard info.kind == .file else {
            warning("left out: became something else while it was being read")
            return
        }
        let metadata = try metadata(of: file, info, isFAT: level.isFAT)
        let position = try encoder.beginFile(name, metadata, size: info.byteCount, into: &items)
        try output.take(&items)
        try copy(file, size: info.byteCount, &encoder)
        if info.linkCount > 1 {
            links[info.identity] = LinkTarget(
                position: position, path: Array(path.joined(separator: [UInt8(ascii: "/")])))
        }
        try catalog?.add(name, metadata.stat, size: info.byteCount)
    }

    /// Reads exactly `size` bytes, whatever has become of the file.
    private func copy(_ file: OpenNode, size: UInt64, _ encoder: inout PxarEncoder) throws {
        if size > ArchiveOutput.pieceSize { file.willReadAll() }
        var offset: UInt64 = 0
        var hasEnded = false
        while offset < size {
            let room = try output.space(Int(clamping: size - offset))
            var count = hasEnded ? 0 : try file.read(into: room, at: offset)
            if count < room.count {
                if !hasEnded { warning("shrank while it was being read; the rest is zeros") }
                hasEnded = true
                UnsafeMutableRawBufferPointer(rebasing: room[count...]).initializeMemory(as: UInt8.self, repeating: 0)
                count = room.count
            }
            output.filled(count)
            offset += UInt64(count)
            encoder.passedPayload(count)
        }
        if !hasEnded, try file.info().byteCount > size { warning("grew while it was being read; it is cut off") }
    }

    /// Links, devices, FIFOs and sockets.
    private func visitOther(
        _ name: [UInt8], _ before: NodeInfo, in level: Level, _ encoder: inout PxarEncoder
    ) throws {
        let node = try level.folder.open(name, .reference)
        let info = try node.info()
        guard info.kind == before.kind else {
            warning("left out: became something else while it was being read")
            return
        }
        let metadata = try metadata(of: node, info, isFAT: level.isFAT)
        switch info.kind {
        case .link:
            let target = try level.folder.linkTarget(of: name)
            try encoder.addSymlink(name, metadata, target: target, into: &items)
        case .blockDevice, .characterDevice:
            try encoder.addDevice(name, metadata, major: info.deviceMajor, minor: info.deviceMinor, into: &items)
        default:
            try encoder.addSpecial(name, metadata, into: &items)
        }
        try output.take(&items)
        try catalog?.add(name, metadata.stat, size: 0)
    }

    private func metadata(of node: OpenNode, _ info: NodeInfo, isFAT: Bool) throws -> PxarMetadata {
        do {
            return try NodeMetadata.read(node, info, isFAT: isFAT, skipsTooBigXAttrs: options.skipsTooBigXAttrs) {
                warning($0)
            }
        } catch let error as SystemError where error.isTooBig {
            throw BackupFailure(
                .invalidInput, "The extended attributes of \(display) are too big to be listed",
                hints: ["--skip-e2big-xattr backs the file up without them."], cause: error)
        }
    }
}

/// Patterns: those of a folder, and those of the command line.
extension ArchiveWalk {
    private func readRules(of folder: OpenNode) throws {
        let name = ExcludeRules.fileName
        // A file that cannot be opened excludes nothing; the entry itself gets its warning when it is visited.
        guard let info = try? folder.info(of: name), info.kind == .file,
            let file = try? folder.open(name, .reading), try file.info().kind == .file
        else { return }
        guard info.byteCount <= UInt64(ExcludeRules.fileLimit) else {
            throw BackupFailure(
                .invalidInput, "The pattern file in \(display) is larger than \(ExcludeRules.fileLimit) bytes")
        }
        var lines = [UInt8](repeating: 0, count: Int(info.byteCount))
        let count = try lines.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        lines.removeLast(lines.count - count)
        for failure in rules.add(lines: lines, depth: path.count) { warning(".pxarexclude: \(failure.summary)") }
    }

    /// Keeps the patterns of the command line as the last file of the root.
    private func addCommandLinePatterns(_ encoder: inout PxarEncoder) throws {
        guard !options.excludes.isEmpty else { return }
        var content = Array(options.excludes.joined(separator: "\n").utf8 + [UInt8(ascii: "\n")])
        let stat = PxarStat(
            mode: 0o100600, uid: ProcessInformation.userID, gid: ProcessInformation.groupID,
            mtime: PxarTime(seconds: 0))
        let name = ExcludeRules.commandLineFileName
        let size = content.count
        try encoder.beginFile(name, PxarMetadata(stat: stat), size: UInt64(size), into: &items)
        try output.take(&items)
        try output.take(&content)
        encoder.passedPayload(size)
        try catalog?.add(name, stat, size: UInt64(size))
        summary.entries += 1
    }
}

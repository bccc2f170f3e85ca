import BackupFormats
import Platform
import Pxar

/// One run of a ``TreeExtractor``.
///
/// Invariant: `levels` are the folders of the archive that are open; one has
/// its folder on disk as soon as something in it is restored.
final class ExtractWalk {
    private struct Level {
        let name: [UInt8]
        let metadata: PxarMetadata
        /// What is in it is restored unless a pattern says otherwise.
        let isSelected: Bool
        var folder: OpenNode?
        /// It was there before and may hold anything.
        var isOld: Bool
    }

    private struct File {
        let metadata: PxarMetadata
        let inheritsACL: Bool
        var content: SparseFile
    }

    private struct Locked {
        let path: [[UInt8]]
        let metadata: PxarMetadata
    }

    private let rootPath: String
    private let options: TreeExtractOptions
    private let patterns: [PathPattern]
    private let restorer: MetadataRestorer
    private let warn: (TreeWarning) -> Void
    private let root: OpenNode
    private let rootIsOld: Bool
    private let payload: (any TreePayload)?

    private var levels: [Level] = []
    private var path: [[UInt8]] = []
    /// The file whose content arrives; nil while content is passed over.
    private var file: File?
    /// Restored files, as hard links name them: by position, with a hash of the path.
    private var restored: [UInt64: UInt64] = [:]
    /// Files to be locked at the end: until then they may be given further names.
    private var locked: [Locked] = []
    private var summary = TreeSummary()

    init(
        root: OpenNode, rootPath: String, isNew: Bool, options: TreeExtractOptions, patterns: [PathPattern],
        payload: (any TreePayload)?, warn: @escaping (TreeWarning) -> Void
    ) {
        self.root = root
        self.rootPath = rootPath
        self.options = options
        self.patterns = patterns
        self.payload = payload
        self.warn = warn
        rootIsOld = !isNew
        restorer = MetadataRestorer(options: options)
    }

    /// The current entry's path for people.
    var display: String {
        path.isEmpty ? rootPath : path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
    }

    func handle(_ event: PxarEvent) throws {
        switch event {
        case .entry(let entry):
            if levels.isEmpty {
                levels = [
                    Level(
                        name: [], metadata: entry.metadata, isSelected: patterns.isEmpty, folder: root,
                        isOld: rootIsOld)
                ]
                return
            }
            path.append(entry.name)
            try begin(entry)
        case .payloadEnd:
            try endFile()
            path.removeLast()
        case .directoryEnd:
            endFolder()
        case .payload, .prelude, .archiveEnd:
            break
        }
    }

    func content(_ bytes: UnsafeRawBufferPointer) throws {
        guard file != nil else { return }
        try file?.content.append(bytes)
        summary.bytes += UInt64(bytes.count)
    }

    func finish() -> TreeSummary {
        for file in locked {
            path = file.path
            guard let folder = folder(at: file.path.dropLast()), let name = file.path.last,
                let node = try? folder.open(name, .reading)
            else { continue }
            report(restorer.lock(node, file.metadata))
        }
        return summary
    }

    private func report(_ problems: [String]) {
        for problem in problems {
            summary.warnings += 1
            warn(TreeWarning(path: display, reason: problem))
        }
    }

    private func isSelected(isFolder: Bool) -> Bool {
        let last = patterns.last { $0.matches(path[...], isFolder: isFolder) }
        return last.map { !$0.isNegated } ?? levels[levels.count - 1].isSelected
    }

    private func begin(_ entry: PxarEntry) throws {
        let isFolder = entry.content == .directory
        let selected = isSelected(isFolder: isFolder)
        if isFolder {
            levels.append(
                Level(name: entry.name, metadata: entry.metadata, isSelected: selected, folder: nil, isOld: false))
            if selected { _ = try openFolder(levels.count - 1) }
            return
        }
        if case .file = entry.content {
            file = selected ? try beginFile(entry) : nil
            return
        }
        if case .fileReference(let offset, let size) = entry.content {
            if selected { try copyPayload(entry, from: offset, size: size) }
            path.removeLast()
            return
        }
        defer { path.removeLast() }
        guard selected else { return }
        switch entry.content {
        case .symlink(let target):
            try make(entry, replaces: options.overwritesSymlinks) { (folder) throws(SystemError) in
                try folder.makeLink(entry.name, target: target)
            }
        case .device(let major, let minor):
            let kind: NodeInfo.Kind = entry.metadata.stat.kind == .blockDevice ? .blockDevice : .characterDevice
            try makeDevice(entry, kind, major: major, minor: minor)
        case .fifo:
            try make(entry, replaces: options.overwritesFiles) { (folder) throws(SystemError) in
                try folder.makeNode(entry.name, .fifo)
            }
        case .socket:
            try make(entry, replaces: options.overwritesFiles) { (folder) throws(SystemError) in
                try folder.makeNode(entry.name, .socket)
            }
        case .hardLink(let distance, let target):
            try makeHardLink(entry, target: target, position: entry.position - distance)
        case .file, .fileReference, .directory:
            break
        }
    }
}

/// Folders.
extension ExtractWalk {
    /// The folder of a level on disk; made, with those above it, when it is first needed.
    private func openFolder(_ index: Int) throws -> OpenNode {
        if let folder = levels[index].folder { return folder }
        let parent = try openFolder(index - 1)
        let name = levels[index].name
        var isOld = false
        do throws(SystemError) {
            try parent.makeFolder(name)
        } catch {
            guard error.isExisting, try parent.info(of: name).kind == .folder else { throw inTheWay(error) }
            guard options.allowsExistingFolders else { throw inTheWay(error) }
            isOld = true
        }
        let folder = try parent.open(name, .folder)
        levels[index].folder = folder
        levels[index].isOld = isOld
        if !isOld { report(restorer.prepare(folder, levels[index].metadata)) }
        summary.entries += 1
        return folder
    }

    private func endFolder() {
        let level = levels.removeLast()
        // A few files restored into a folder that was there say nothing about that folder.
        let isForeign = levels.isEmpty && rootIsOld && !patterns.isEmpty
        if let folder = level.folder, !isForeign, let info = try? folder.info() {
            if levels.isEmpty { summary.entries += 1 }
            let inheritsACL = levels.last?.isOld ?? level.isOld
            report(restorer.apply(level.metadata, to: folder, info, inheritsACL: inheritsACL))
            report(restorer.lock(folder, level.metadata))
        }
        if !levels.isEmpty { path.removeLast() }
    }

    /// The restored folder made of `names`, reached without following links.
    private func folder(at names: ArraySlice<[UInt8]>) -> OpenNode? {
        var folder = root
        for name in names {
            guard let next = try? folder.open(name, .folder) else { return nil }
            folder = next
        }
        return folder
    }

    private func inTheWay(_ error: SystemError) -> any Error {
        guard error.isExisting else { return error }
        return BackupFailure(
            .conflict, "\(display) is there already",
            hints: ["--overwrite replaces files, --allow-existing-dirs restores into folders that exist."])
    }
}

/// Files and everything else.
extension ExtractWalk {
    private func beginFile(_ entry: PxarEntry) throws -> File {
        let folder = try openFolder(levels.count - 1)
        let node = try create(in: folder, entry.name, replaces: options.overwritesFiles) {
            (folder) throws(SystemError) in try folder.makeFile(entry.name)
        }
        report(restorer.prepare(node, entry.metadata))
        restored[entry.position] = pathHash
        return File(
            metadata: entry.metadata, inheritsACL: levels[levels.count - 1].isOld, content: SparseFile(node))
    }

    /// Restores a file of a split archive.
    private func copyPayload(_ entry: PxarEntry, from offset: UInt64, size: UInt64) throws {
        guard let payload else {
            throw BackupFailure(
                .unsupported, "The content of \(display) is in another archive",
                hints: ["A split archive is restored from its .mpxar and .ppxar together."])
        }
        let header = UInt64(PxarLimits.headerSize)
        guard offset <= payload.size, payload.size - offset >= header, payload.size - offset - header >= size,
            try PxarPayload.isHeader(payload.read(at: offset, count: PxarLimits.headerSize), contentSize: size)
        else {
            throw BackupFailure(.corruptData, "The payload archive does not hold the content of \(display)")
        }
        file = try beginFile(entry)
        var done: UInt64 = 0
        while done < size {
            let piece = try payload.read(
                at: offset + header + done, count: Int(min(size - done, UInt64(Self.payloadPieceSize))))
            guard !piece.isEmpty else { throw BackupFailure(.corruptData, "The payload archive ends in \(display)") }
            try piece.withUnsafeBytes { try content($0) }
            done += UInt64(piece.count)
        }
        try endFile()
    }

    private static let payloadPieceSize = 1 << 20

    private var pathHash: UInt64 { PxarNameHash.hash(path.joined(separator: [UInt8(ascii: "/")])) }

    private func endFile() throws {
        guard var ended = file else { return }
        file = nil
        try ended.content.finish()
        let node = ended.content.file
        report(restorer.apply(ended.metadata, to: node, try node.info(), inheritsACL: ended.inheritsACL))
        if !PxarFlags(rawValue: ended.metadata.stat.flags).isDisjoint(with: MetadataRestorer.locking) {
            locked.append(Locked(path: path, metadata: ended.metadata))
        }
        summary.entries += 1
    }

    /// Calls `body`; where something of that name is there and may be replaced, removes it and calls again.
    private func create<Value>(
        in folder: OpenNode, _ name: [UInt8], replaces: Bool, _ body: (OpenNode) throws(SystemError) -> Value
    ) throws -> Value {
        do throws(SystemError) {
            return try body(folder)
        } catch {
            guard error.isExisting, replaces else { throw inTheWay(error) }
        }
        // A folder is never replaced by something else.
        guard try folder.info(of: name).kind != .folder else {
            throw BackupFailure(.conflict, "\(display) is there already, as a folder")
        }
        try folder.removeFile(name)
        return try body(folder)
    }

    /// Makes something without content and sets its metadata.
    private func make(
        _ entry: PxarEntry, replaces: Bool, _ body: (OpenNode) throws(SystemError) -> Void
    ) throws {
        let folder = try openFolder(levels.count - 1)
        try create(in: folder, entry.name, replaces: replaces, body)
        let node = try folder.open(entry.name, .reference)
        let isOld = levels[levels.count - 1].isOld
        report(restorer.apply(entry.metadata, to: node, try node.info(), inheritsACL: isOld))
        summary.entries += 1
    }

    private func makeDevice(_ entry: PxarEntry, _ kind: NodeInfo.Kind, major: UInt32, minor: UInt32) throws {
        do {
            try make(entry, replaces: options.overwritesFiles) { (folder) throws(SystemError) in
                try folder.makeNode(entry.name, kind, major: major, minor: minor)
            }
        } catch let error as SystemError {
            // Only root may make devices; that is no reason to give up the rest.
            guard error.isDenied || options.ignoresDeviceErrors else { throw error }
            report(["left out: \(error)"])
        }
    }

    private func makeHardLink(_ entry: PxarEntry, target: [UInt8], position: UInt64) throws {
        guard let names = PxarName.components(of: target)?.map({ Array($0) }), let name = names.last,
            restored[position] == PxarNameHash.hash(names.joined(separator: [UInt8(ascii: "/")])),
            let targetFolder = folder(at: names.dropLast()), try targetFolder.info(of: name).kind == .file
        else {
            report(["left out: the file that it is a name of was not restored"])
            return
        }
        let folder = try openFolder(levels.count - 1)
        try create(in: folder, entry.name, replaces: options.overwritesHardLinks) { (folder) throws(SystemError) in
            try folder.makeHardLink(entry.name, to: name, in: targetFolder)
        }
        summary.entries += 1
    }
}

import BackupFormats
import VirtualDisks

/// How far the merge of a chain has come: the file `.<oldest disk>.merge.json` beside it. (Spec: xo-proxy §4.10 point 6.)
///
/// While it exists, the oldest disk is being changed: only the chain that ends with the youngest link is worth anything.
struct MergeState: Sendable, Equatable {
    enum Step: String, Sendable {
        case mergeBlocks
        /// The oldest disk holds everything and bears the youngest's identity.
        case cleanup
    }

    private static let prefix = "."
    private static let suffix = ".merge.json"
    static let maxFileBytes = 1 << 20

    var step: Step
    var parent: DiskUUID?
    var child: DiskUUID?
    /// Names of the disks, oldest first; old versions wrote none.
    var chain: [String]
    /// Blocks before it are in the oldest disk, and durable there if the state is ours.
    var currentBlock: Int
    var mergedBytes: UInt64
    var diskBytes: UInt64

    /// A merge that begins.
    init(parent: DiskUUID, child: DiskUUID, chain: [String], diskBytes: UInt64) {
        step = .mergeBlocks
        self.parent = parent
        self.child = child
        self.chain = chain
        currentBlock = 0
        mergedBytes = 0
        self.diskBytes = diskBytes
    }

    /// A merge of which nobody knows how far it has come.
    init(unknown chain: [String]) {
        self.init(namingOnly: chain)
        step = .mergeBlocks
    }

    /// A merge that has done everything but the last rename.
    init(namingOnly chain: [String]) {
        step = .cleanup
        parent = nil
        child = nil
        self.chain = chain
        currentBlock = 0
        mergedBytes = 0
        diskBytes = 0
    }

    /// - Throws: ``FormatError`` where it is no object.
    init(parsing file: [UInt8]) throws(FormatError) {
        guard case .object(let json) = try JSONValue(parsing: file) else {
            throw .invalid("the state of a merge is no object", offset: 0)
        }
        step = json["step"]?.stringValue.flatMap(Step.init) ?? .mergeBlocks
        parent = json["parent"]?["uuid"]?.stringValue.flatMap { DiskUUID(parsing: $0) }
        child = json["child"]?["uuid"]?.stringValue.flatMap { DiskUUID(parsing: $0) }
        // All links lie in one folder, whatever their paths are relative to.
        chain = (json["chain"]?.arrayValue ?? []).compactMap { $0.stringValue.map(ClassicPath.name(of:)) }
        // Others do not wait until blocks are on the disk before they note them: theirs begin anew, which is always right.
        let isOurs = json["cairn"] != nil
        currentBlock = isOurs ? max(0, Int(clamping: json["currentBlock"]?.intValue ?? 0)) : 0
        mergedBytes = isOurs ? UInt64(clamping: json["mergedDataSize"]?.intValue ?? 0) : 0
        diskBytes = UInt64(clamping: json["diskSize"]?.intValue ?? 0)
    }

    var encoded: [UInt8] {
        let json: JSONValue = [
            "step": .string(step.rawValue),
            "parent": ["uuid": .string(parent?.description ?? "")],
            "child": ["uuid": .string(child?.description ?? "")],
            "chain": .array(chain.map { .string($0) }),
            "currentBlock": .integer(currentBlock),
            "mergedDataSize": .integer(mergedBytes),
            "diskSize": .integer(diskBytes),
            "cairn": true,
        ]
        return Array(json.compactText.utf8)
    }

    static func name(of disk: String) -> String { prefix + disk + suffix }

    /// The oldest disk that a file of that name speaks of; nil for other files.
    static func oldestDisk(ofStateNamed name: String) -> String? {
        guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
        let disk = String(name.dropFirst(prefix.count).dropLast(suffix.count))
        return DiskFolder.isDisk(disk) ? disk : nil
    }
}

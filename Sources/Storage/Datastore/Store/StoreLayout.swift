import BackupFormats

/// Where things lie below the store's folder. (Spec: formats §9.1; our own names below `.cairn`: docs/formats/datastore.md.)
struct StoreLayout: Sendable {
    static let rootMode: UInt32 = 0o755
    static let chunkFolderMode: UInt32 = 0o750
    static let treeMode: UInt32 = 0o755
    static let fileMode: UInt32 = 0o644
    static let privateMode: UInt32 = 0o700
    static let ownerFile = "owner"
    static let notesFile = "notes"
    static let protectedFile = ".protected"

    let root: String

    var chunks: String { "\(root)/.chunks" }
    /// Prefix folders that `create` has not finished.
    var newChunks: String { "\(root)/.chunks.new" }
    /// The figures of the last garbage collection.
    var collectionStatus: String { "\(root)/.gc-status" }
    /// The lock that a PBS takes too.
    var processLock: String { "\(root)/.lock" }
    /// Ours; other software skips names with a dot.
    var own: String { "\(root)/.cairn" }
    var ownerLock: String { "\(own)/lock" }
    /// Snapshots being written, a folder and a `.task` file each.
    var sessions: String { "\(own)/sessions" }
    /// Where a garbage collection puts what its memory cannot hold.
    var spilled: String { "\(own)/collection" }
    /// What was removed from the tree by a rename and is being deleted.
    var removed: String { "\(own)/removed" }

    /// Lists of what has arrived for snapshots that a synchronisation could not finish.
    var arrivals: String { "\(own)/resume" }

    func folder(of namespace: Namespace) -> String { namespace.components.reduce(root) { "\($0)/ns/\($1)" } }

    func folder(of type: BackupType, in namespace: Namespace) -> String { "\(folder(of: namespace))/\(type.rawValue)" }

    func folder(of group: BackupGroup, in namespace: Namespace) -> String { "\(folder(of: namespace))/\(group)" }

    func folder(of snapshot: SnapshotName, in namespace: Namespace) -> String { "\(folder(of: namespace))/\(snapshot)" }
}

/// `0516`: four lowercase hexadecimal digits.
func prefixName(_ prefix: UInt16) -> String { Hex.encode([UInt8(prefix >> 8), UInt8(prefix & 0xff)]) }

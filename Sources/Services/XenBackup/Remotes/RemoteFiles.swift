package import BackupFormats

/// What a remote's backend can do beyond whole files.
package struct RemoteCapabilities: Sendable {
    /// Files are renamed in one step, opened for writing at any place, and folders exist by themselves.
    package var isFileSystem: Bool
    /// Files cannot be changed once written.
    package var isImmutable: Bool
    /// `useVhdDirectory`: Xen Orchestra keeps the disks of deltas there as folders of blocks.
    package var usesBlockFolders = false

    package init(isFileSystem: Bool, isImmutable: Bool = false) {
        self.isFileSystem = isFileSystem
        self.isImmutable = isImmutable
    }
}

package enum WriteMode: Sendable { case new, replace }

/// The files of a remote. Paths are relative to its root, with `/`, without one at the beginning; none escapes the root.
/// Missing files are ``BackupFailure`` of kind `notFound`, existing ones `conflict`. (Spec: xo-proxy §4.2.)
package protocol RemoteFiles: Sendable {
    var capabilities: RemoteCapabilities { get }

    /// Names in a folder, files and folders, sorted by their bytes. In object stores, a folder without files does not
    /// exist.
    func list(_ folder: String) async throws -> [String]
    func size(of path: String) async throws -> UInt64
    /// The whole file; `invalidInput` where it is longer than `limit`.
    func read(_ path: String, limit: Int) async throws -> [UInt8]
    /// A part of a file; fewer bytes only at its end.
    func read(_ path: String, at offset: UInt64, count: Int) async throws -> [UInt8]
    func stream(_ path: String) async throws -> any ByteSource
    /// Writes a small file in one step: it is there whole and durable, or not at all. Makes missing folders. As all
    /// that changes names (moving, removing, making folders), it is on the disk when the call returns.
    func write(_ path: String, _ bytes: [UInt8], _ mode: WriteMode) async throws
    /// Writes a stream to a temporary name and then gives it its own; on any failure nothing stays. Makes folders.
    ///
    /// - Returns: Bytes written.
    func write(_ path: String, from source: any ByteSource, maxByteCount: UInt64?, _ mode: WriteMode) async throws
        -> UInt64
    /// Opens a file for reading and writing at any place; file systems only (`unsupported` elsewhere).
    func open(_ path: String, _ access: RemoteFileAccess) async throws -> any RemoteFile
    func move(_ path: String, to target: String, _ mode: WriteMode) async throws
    /// A missing file is no error.
    func remove(_ path: String) async throws
    /// Removes a folder with all that is in it; a missing one is no error.
    func removeTree(_ path: String) async throws
    func makeFolder(_ path: String) async throws
    /// Takes the lock `<path>.lock`, a folder that is touched every 5 s. (Spec: §4.7.) On object stores it excludes
    /// others of this process only.
    ///
    /// - Throws: ``BackupFailure`` of kind `conflict`, summary `Lock file is already being held`.
    func lock(_ path: String, patience: Duration) async throws -> any RemoteLock
    /// `{ size?, used?, available? }`.
    func info() async throws -> JSONObject
    func close() async
}

package enum RemoteFileAccess: Sendable {
    case read, update
    /// Makes it new.
    case create
}

/// A file of a remote that is open for access at any place; may be used by several at once.
package protocol RemoteFile: Sendable {
    func size() async throws -> UInt64
    /// Fewer bytes only at the end.
    func read(at offset: UInt64, count: Int) async throws -> [UInt8]
    func write(_ bytes: [UInt8], at offset: UInt64) async throws
    func truncate(to size: UInt64) async throws
    /// Has all that was written on the disk when it returns.
    func sync() async throws
    func close() async
}

package protocol RemoteLock: Sendable {
    /// Whether it is still ours; a lock that others took over after a long sleep is lost.
    var isHeld: Bool { get }
    func release() async
}

import CLinux

/// A lock on a whole file that other processes see. It is given up with ``release()`` or when the value goes.
///
/// A record lock belongs to the process and vanishes when *any* descriptor of the file is closed in it: keep exactly
/// one open. A description lock belongs to the open file alone; it also keeps out other openers in the same process.
package final class FileLock: Sendable {
    package enum Owner: Sendable { case process, openFile }
    package enum Kind: Sendable { case shared, exclusive }

    private let file: OpenFile
    private let owner: Owner

    /// Takes the lock without waiting.
    ///
    /// - Throws: ``SystemError/isLocked`` where it is held elsewhere.
    package init(_ file: OpenFile, _ kind: Kind, owner: Owner) throws(SystemError) {
        self.file = file
        self.owner = owner
        try set(kind == .shared ? CL_LOCK_SHARED : CL_LOCK_EXCLUSIVE)
    }

    /// As the initialiser; nil where the lock is held elsewhere.
    package static func taken(_ file: OpenFile, _ kind: Kind, owner: Owner) throws(SystemError) -> FileLock? {
        do throws(SystemError) {
            return try FileLock(file, kind, owner: owner)
        } catch {
            if error.isLocked { return nil }
            throw error
        }
    }

    /// Changes the kind in place.
    package func change(to kind: Kind) throws(SystemError) {
        try set(kind == .shared ? CL_LOCK_SHARED : CL_LOCK_EXCLUSIVE)
    }

    package func release() {
        try? set(CL_LOCK_NONE)
    }

    deinit { release() }

    private func set(_ kind: some BinaryInteger) throws(SystemError) {
        let result =
            switch owner {
            case .process: cl_record_lock(file.descriptor, Int32(kind))
            case .openFile: cl_description_lock(file.descriptor, Int32(kind))
            }
        try check(result, "lock", file.path)
    }
}

import BackupFormats
import Platform

extension Datastore {
    /// Takes a folder out of the tree by one rename, then deletes it: nobody sees half of it, and what a crash leaves
    /// is deleted when the store is next opened. A missing folder is fine.
    func moveAside(_ path: String) throws {
        try options.beforeStep(.moveAside)
        try owner.makeFolder(layout.removed, mode: StoreLayout.privateMode)
        let aside = "\(layout.removed)/\(Hex.encode(try SystemRandom.uuid()))"
        do throws(SystemError) {
            try FileSystem.renameExclusively(path, to: aside)
        } catch {
            if error.isMissing { return }
            throw error
        }
        try options.beforeStep(.removeMovedAside)
        try FileSystem.removeTree(aside)
    }
}

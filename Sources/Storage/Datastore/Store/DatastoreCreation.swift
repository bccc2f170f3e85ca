import BackupFormats
import Platform

extension Datastore {
    /// Names are safe ids of 3 to 32 characters.
    package static func isValidName(_ name: some StringProtocol) -> Bool {
        (3...32).contains(name.utf8.count) && SafeID.isValid(name)
    }

    /// Makes an empty datastore. The folder is made where it is missing, else it must be empty but for dot-files and
    /// `lost+found`. A second call after an interrupted one completes it. (Spec: formats §9.1.)
    ///
    /// - Throws: ``BackupFailure``: `invalidInput` for a bad name, `conflict` where the folder holds something.
    package static func create(name: String, at path: String, options: StoreOptions = StoreOptions()) throws {
        guard isValidName(name) else {
            throw BackupFailure(
                .invalidInput, "'\(name)' is not a datastore name: 3 to 32 letters, digits, '_', '-', '.'")
        }
        guard path.hasPrefix("/") else {
            throw BackupFailure(.invalidInput, "The path of a datastore is absolute, and '\(path)' is not")
        }
        try storing("Datastore \(name) cannot be created at \(path)") {
            try FileSystem.makeFolders(path, mode: StoreLayout.rootMode)
            let layout = StoreLayout(root: try FileSystem.realPath(path))
            for entry in try FileSystem.list(layout.root) where !entry.hasPrefix(".") && entry != "lost+found" {
                throw BackupFailure(.conflict, "Datastore \(name) cannot be created: \(path) holds '\(entry)' already")
            }
            if try FileSystem.exists(layout.chunks) {
                throw BackupFailure(.conflict, "Datastore \(name) cannot be created: \(path) is a datastore already")
            }
            try FileSystem.setMode(layout.root, StoreLayout.rootMode)
            _ = try OpenFile(layout.processLock, .make(mode: StoreLayout.fileMode))
            try FileSystem.makeFolder(layout.newChunks, mode: StoreLayout.chunkFolderMode)
            if options.makesPrefixFolders {
                for prefix in UInt16.min...UInt16.max {
                    try FileSystem.makeFolder(
                        "\(layout.newChunks)/\(prefixName(prefix))", mode: StoreLayout.chunkFolderMode)
                }
            }
            if options.syncLevel != .none { try FileSystem.syncFileSystem(of: layout.root) }
            try FileSystem.rename(layout.newChunks, to: layout.chunks)
            if options.syncLevel != .none { try FileSystem.syncFolder(layout.root) }
        }
    }
}

import BackupFormats
import Platform

/// The file of an index being written: its temporary and its final name. (Spec: formats §2.3, §3.3.)
struct IndexFile: Sendable {
    let name: ArchiveName
    let file: OpenFile
    private let folder: String
    private let owner: FileOwner
    private let beforeStep: @Sendable (StoreStep) throws -> Void

    init(_ name: ArchiveName, folder: String, owner: FileOwner, options: StoreOptions) throws {
        self.name = name
        self.folder = folder
        self.owner = owner
        beforeStep = options.beforeStep
        try beforeStep(.indexCreate)
        let temporary = Self.temporaryPath(of: name, in: folder)
        file = try OpenFile(temporary, .makeNew(mode: StoreLayout.fileMode))
        try file.setMode(StoreLayout.fileMode)
        if let toGive = owner.toGive { try file.setOwner(user: toGive.user, group: toGive.group) }
    }

    /// `disk.img.fidx` → `disk.img.tmp_fidx`.
    private static func temporaryPath(of name: ArchiveName, in folder: String) -> String {
        let ending = name.kind.rawValue
        return "\(folder)/\(name.name.dropLast(ending.utf8.count))tmp_\(ending)"
    }

    func finish() throws {
        try beforeStep(.indexRename)
        try FileSystem.rename(file.path, to: "\(folder)/\(name)")
    }

    func remove() {
        // What cannot be removed now goes with the staged folder.
        _ = try? FileSystem.removeFile(file.path)
    }
}

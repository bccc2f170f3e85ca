import BackupFormats
import Platform

/// The file of an index being written: its temporary and its final name. (Spec: formats §2.3, §3.3.)
struct IndexFile: Sendable {
    /// Writers of one archive at a time.
    private static let maxWriters = 256

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
        file = try Self.makeTemporary(of: name, in: folder)
        try file.setMode(StoreLayout.fileMode)
        if let toGive = owner.toGive { try file.setOwner(user: toGive.user, group: toGive.group) }
    }

    /// `disk.img.fidx` → `disk.img.tmp_fidx`; a second writer of the same name gets `disk.img.1.tmp_fidx`.
    private static func makeTemporary(of name: ArchiveName, in folder: String) throws(SystemError) -> OpenFile {
        let ending = name.kind.rawValue
        let stem = "\(folder)/\(name.name.dropLast(ending.utf8.count))"
        var number = 0
        while true {
            do throws(SystemError) {
                return try OpenFile(
                    "\(stem)\(number == 0 ? "" : "\(number).")tmp_\(ending)", .makeNew(mode: StoreLayout.fileMode))
            } catch {
                guard error.isExisting, number < maxWriters else { throw error }
                number += 1
            }
        }
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

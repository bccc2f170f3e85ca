package import BackupFormats
import Platform

/// Makes an archive of a folder: walks it and writes what it finds.
///
/// Folders are walked in the order of the names' bytes. Entries that vanish or
/// may not be read are warnings; a file that shrinks while it is read is filled
/// up with zeros, one that grows is cut at the size that it had. A failing disk
/// ends the run. Calls block; run it on a thread of its own.
package struct TreeArchiver {
    private let root: OpenNode
    private let path: String
    private let options: TreeArchiveOptions
    private let patterns: [PathPattern]
    private let devices: Set<UInt64>

    /// - Throws: ``BackupFailure`` of kind `invalidInput` for a bad pattern; of the system's kind where `root` or an
    ///   included device is not a folder that can be opened.
    package init(root path: String, options: TreeArchiveOptions = TreeArchiveOptions()) throws {
        self.path = path
        self.options = options
        patterns = try options.excludes.map { text throws(BackupFailure) in try PathPattern(text) }
        OpenNode.allowManyOpen()
        do {
            root = try OpenNode(folderAt: path)
            devices = try Set(options.includedDevices.map { try OpenNode(folderAt: $0).info().identity.device })
        } catch let error as SystemError {
            throw error.failure("The folder \(error.object) cannot be backed up")
        }
    }

    /// Writes the archive and its part of the catalog.
    ///
    /// - Parameters:
    ///   - catalog: Gets a folder named `archiveName`. Not finished here.
    ///   - archiveName: The archive's name on the server: `root.pxar.didx`.
    ///   - consumeCatalog: Gets the catalog's bytes as they come.
    ///   - consume: Gets the archive's bytes in order, at most 1 MiB at a time, valid during the call.
    /// - Throws: ``BackupFailure``, and whatever the closures throw.
    package func run(
        catalog: inout CatalogWriter, archiveName: String, warn: @escaping (TreeWarning) -> Void,
        consumeCatalog: @escaping ([UInt8]) throws -> Void,
        consume: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) throws -> TreeSummary {
        let walk = makeWalk(TreeCatalog(catalog, consume: consumeCatalog), warn: warn, consume: consume)
        let summary = try walk.run(archiveName: archiveName)
        if let written = walk.catalog { catalog = written.writer }
        return summary
    }

    /// Writes the archive without a catalog.
    package func run(
        warn: @escaping (TreeWarning) -> Void, consume: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) throws -> TreeSummary {
        try makeWalk(nil, warn: warn, consume: consume).run(archiveName: "")
    }

    private func makeWalk(
        _ catalog: TreeCatalog?, warn: @escaping (TreeWarning) -> Void,
        consume: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) -> ArchiveWalk {
        ArchiveWalk(
            root: root, rootPath: path, options: options, patterns: patterns, devices: devices, catalog: catalog,
            warn: warn, output: ArchiveOutput(consume: consume))
    }
}

import BackupFormats
import Platform
import Pxar

/// The payload stream of a split archive (`.ppxar`), for the contents that the metadata stream refers to.
package protocol TreePayload {
    /// Bytes of the stream.
    var size: UInt64 { get }

    /// The `count` bytes from `offset`, which lie inside ``size``. May block.
    func read(at offset: UInt64, count: Int) throws -> [UInt8]
}

/// Restores an archive into a folder, from its bytes as they come.
///
/// Takes a version 1 archive, or the metadata stream of a split archive whose payload is at hand.
///
/// Every name is opened or made inside the folder that was opened for the one
/// before it, and never through a link: what an archive or anybody else has put
/// there cannot lead a restore out of its folder. Runs of zeros become holes.
/// Metadata that cannot be set (owners for all but root, attributes that the
/// file system does not have) is a warning; files that cannot be made end the
/// run. Folders get their metadata when they are complete. Calls block.
package final class TreeExtractor {
    private let walk: ExtractWalk
    private var decoder = PxarDecoder()

    /// Opens the folder at `path`, or makes it. One that is there must be empty, unless the options allow existing folders.
    ///
    /// - Parameter payload: Needed for split archives only.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for a bad pattern, `conflict` where the folder is not empty,
    ///   or of the system's kind.
    package init(
        into path: String, options: TreeExtractOptions = TreeExtractOptions(), payload: (any TreePayload)? = nil,
        warn: @escaping (TreeWarning) -> Void
    ) throws {
        let patterns = try options.patterns.map { text throws(BackupFailure) in try PathPattern(text) }
        OpenNode.allowManyOpen()
        do {
            let isNew = try FileSystem.makeFolder(path, mode: 0o700)
            let root = try OpenNode(folderAt: path)
            if !isNew, !options.allowsExistingFolders, try !root.names(limit: .max).isEmpty {
                throw BackupFailure(
                    .conflict, "The folder \(path) is not empty",
                    hints: ["--allow-existing-dirs restores into it all the same."])
            }
            walk = ExtractWalk(
                root: root, rootPath: path, isNew: isNew, options: options, patterns: patterns, payload: payload,
                warn: warn)
        } catch let error as SystemError {
            throw error.failure("The folder \(path) cannot be restored into")
        }
    }

    /// Takes the next bytes of the archive.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` for bytes that are no archive, `conflict` where something is in
    ///   the way, `storageFull`, or of the system's kind.
    package func push(_ bytes: UnsafeRawBufferPointer) throws {
        var offset = 0
        do {
            while let event = try decoder.next(in: bytes, at: &offset) {
                if case .payload(let range) = event {
                    try walk.content(UnsafeRawBufferPointer(rebasing: bytes[range]))
                } else {
                    try walk.handle(event)
                }
            }
        } catch let error as FormatError {
            throw BackupFailure(.corruptData, "The archive cannot be read", cause: error)
        } catch let error as SystemError {
            throw error.failure("\(walk.display) cannot be restored")
        }
    }

    /// Says that the archive is complete.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where it is not.
    package func finish() throws -> TreeSummary {
        do throws(FormatError) {
            try decoder.finish()
        } catch {
            throw BackupFailure(.corruptData, "The archive is not complete", cause: error)
        }
        return walk.finish()
    }
}

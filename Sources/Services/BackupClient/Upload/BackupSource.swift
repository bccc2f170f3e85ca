package import BackupFormats
import Platform

/// One archive of a backup to be: what it is made of, and its name.
package struct BackupSource: Sendable {
    package enum Content: Sendable {
        /// A folder, as a pxar archive.
        case tree(path: String)
        /// A file or block device, as an image.
        case image(path: String)
        /// What comes out of a descriptor, as an image.
        case stream(descriptor: Int32)
        /// A small file, whole.
        case blob(path: String)
    }

    package let archive: ArchiveName
    package let content: Content

    package init(archive: ArchiveName, content: Content) {
        self.archive = archive
        self.content = content
    }

    /// Reads `name.type:path` with the types `pxar`, `img`, `conf` and `log`; `-` as the path of an image is standard
    /// input. (Spec: rest G.1.)
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    package init(parsing text: String) throws {
        func refuse(_ reason: String) -> BackupFailure {
            BackupFailure(
                .invalidInput, "'\(text)' says not what to back up: \(reason)",
                hints: ["Write name.type:path, with the type pxar (folder), img (image or device), conf or log (file)."]
            )
        }
        guard let colon = text.firstIndex(of: ":") else { throw refuse("there is no colon") }
        let path = String(text[text.index(after: colon)...])
        let parts = text[..<colon].split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, !path.isEmpty else { throw refuse("a name with one point and a path are needed") }
        guard Self.isName(parts[0]) else { throw refuse("a name has letters, digits, _ and - only") }
        let content: Content
        let ending: String
        switch parts[1] {
        case "pxar": (content, ending) = (.tree(path: path), "didx")
        case "img": (content, ending) = (path == "-" ? .stream(descriptor: 0) : .image(path: path), "fidx")
        case "conf", "log": (content, ending) = (.blob(path: path), "blob")
        default: throw refuse("'\(parts[1])' is no type")
        }
        guard let archive = ArchiveName("\(text[..<colon]).\(ending)") else { throw refuse("the name is not allowed") }
        self.init(archive: archive, content: content)
    }

    private static func isName(_ text: Substring) -> Bool {
        SafeID.isValid(text) && !text.contains(".")
    }
}

import BackupFormats

/// A place below the root of a remote: names joined by `/`, without `.`, `..` and empty ones.
package struct RemotePath: Hashable, Sendable {
    /// What file systems allow.
    private static let nameLimit = 255
    /// Deeper trees are nobody's backups.
    private static let depthLimit = 64

    /// Empty for the root itself.
    package let names: [String]

    /// Reads a path relative to the root; a slash at its beginning or end does not matter.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where it leads out of the root, or no file can have that name.
    package init(parsing text: String) throws {
        var names: [String] = []
        for name in text.split(separator: "/") where name != "." {
            if name == ".." {
                guard names.popLast() != nil else {
                    throw BackupFailure(.invalidInput, "The path \(text.shown) leads out of the remote")
                }
                continue
            }
            guard name.utf8.count <= Self.nameLimit, !name.utf8.contains(0) else {
                throw BackupFailure(.invalidInput, "The path \(text.shown) has a name that no file can have")
            }
            names.append(String(name))
        }
        guard names.count <= Self.depthLimit else {
            throw BackupFailure(.invalidInput, "The path \(text.shown) is too deep")
        }
        self.names = names
    }

    /// Of names that are known to be good.
    init(names: [String]) { self.names = names }

    package var isRoot: Bool { names.isEmpty }
}

extension RemotePath: CustomStringConvertible {
    package var description: String { names.joined(separator: "/") }
}

extension String {
    /// As part of a message: long ones are cut, control characters replaced.
    fileprivate var shown: String {
        String(String.UnicodeScalarView(unicodeScalars.prefix(120).map { $0.value < 32 ? "?" : $0 }))
    }
}

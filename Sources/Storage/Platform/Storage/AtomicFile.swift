import CLinux

/// Writing a file so that readers see the old content or the new, never a mixture. (Spec: formats §9.6.)
package enum AtomicFile {
    /// Writes `bytes` to a temporary file beside `path` (`tmp_` and six random letters in place of the last extension) and renames it.
    ///
    /// - Parameters:
    ///   - owner: User and group that the file is given to, where they differ from the process's.
    ///   - isSynced: Whether to wait until content and name are on the disk.
    ///   - writeBehind: Gets the file when its content is complete.
    ///   - beforeRename: Called when the temporary file is complete; what it throws leaves the old file as it was.
    package static func replace(
        _ path: String, with bytes: [UInt8], mode: UInt32 = 0o644, owner: (user: UInt32, group: UInt32)? = nil,
        isSynced: Bool = false, writeBehind: WriteBehind? = nil, beforeRename: () throws -> Void = {}
    ) throws {
        let file = try write(bytes, beside: path, mode: mode, owner: owner, isSynced: isSynced)
        do {
            try beforeRename()
            try FileSystem.rename(file.path, to: path)
        } catch {
            _ = try? FileSystem.removeFile(file.path)
            throw error
        }
        writeBehind?.add(file)
        if isSynced { try FileSystem.syncFolder(folder(of: path)) }
    }

    /// The first half of ``replace(_:with:mode:owner:isSynced:writeBehind:beforeRename:)``: the complete temporary file.
    private static func write(
        _ bytes: [UInt8], beside path: String, mode: UInt32, owner: (user: UInt32, group: UInt32)?, isSynced: Bool
    ) throws(SystemError) -> OpenFile {
        var template = Array(temporaryPattern(for: path).utf8CString)
        let descriptor = cl_make_temporary(&template)
        try check(descriptor, "mkostemp", path)
        let temporary = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let file = OpenFile(owning: descriptor, path: temporary)
        do throws(SystemError) {
            try file.write(bytes, at: 0)
            try file.setMode(mode)
            if let owner { try file.setOwner(user: owner.user, group: owner.group) }
            if isSynced { try file.sync() }
        } catch {
            _ = try? FileSystem.removeFile(temporary)
            throw error
        }
        return file
    }

    /// `a/index.json.blob` → `a/index.json.tmp_` and six letters `X` to be replaced; a name without extension gets one.
    static func temporaryPattern(for path: String) -> String {
        let ending = ".tmp_" + String(repeating: "X", count: 6)
        let name = path.split(separator: "/", omittingEmptySubsequences: false).last.map { String($0) } ?? path
        guard let dot = name.lastIndex(of: "."), dot > name.startIndex else { return path + ending }
        return path.dropLast(name.distance(from: dot, to: name.endIndex)) + ending
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

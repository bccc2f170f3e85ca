import Glibc

/// `lseek` of a block device gives its size; a file's comes from its status.
package enum DeviceSize {
    /// Bytes of a regular file or block device; 0 for anything else.
    package static func byteCount(of file: OpenFile) throws(SystemError) -> Int {
        if try file.status().kind == .file { return try file.byteCount() }
        let end = lseek(file.descriptor, 0, SEEK_END)
        return end < 0 ? 0 : Int(end)
    }
}

extension OpenFile {
    private static let seekData: Int32 = 3

    /// Where stored bytes begin, at or behind `offset`: `Int.max` where only a hole follows, nil where the file system
    /// does not say.
    package func nextData(from offset: Int) -> Int? {
        let found = lseek(descriptor, off_t(offset), Self.seekData)
        if found >= 0 { return Int(found) }
        return errno == ENXIO ? Int.max : nil
    }

    package var isBlockDevice: Bool {
        var result = stat()
        return fstat(descriptor, &result) == 0 && result.st_mode & S_IFMT == S_IFBLK
    }
}

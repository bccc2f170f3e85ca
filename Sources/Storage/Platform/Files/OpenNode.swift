import CLinux
import Glibc

/// An open file, folder, or reference to anything, reached name by name.
///
/// Names are raw bytes and one component each; no call follows a link. So a
/// tree is walked and made without ever leaving it. Calls block. Closed when
/// the last reference goes.
package final class OpenNode: Sendable {
    package enum Access: Sendable {
        case folder
        /// A regular file, for its content.
        case reading
        /// Anything, for its metadata only.
        case reference
    }

    package let descriptor: Int32
    private let isReference: Bool
    /// As far as it is known; for messages.
    private let name: String

    private init(_ descriptor: Int32, isReference: Bool, name: String) {
        self.descriptor = descriptor
        self.isReference = isReference
        self.name = name
    }

    deinit { close(descriptor) }

    /// The folder at `path`; links on the way are followed.
    package convenience init(folderAt path: String) throws(SystemError) {
        let descriptor = cl_open_root(path)
        try check(descriptor, "open", path)
        self.init(descriptor, isReference: false, name: path)
    }

    /// Opens what is named `child` here.
    package func open(_ child: [UInt8], _ access: Access) throws(SystemError) -> OpenNode {
        let descriptor = child.withCName { name in
            switch access {
            case .folder: cl_open_folder(self.descriptor, name)
            case .reading: cl_open_reading(self.descriptor, name)
            case .reference: cl_open_reference(self.descriptor, name)
            }
        }
        try check(descriptor, "open", child.text)
        return OpenNode(descriptor, isReference: access == .reference, name: child.text)
    }

    /// Makes a new file of mode 0600 and opens it for writing.
    package func makeFile(_ child: [UInt8]) throws(SystemError) -> OpenNode {
        let descriptor = child.withCName { cl_create_file(self.descriptor, $0) }
        try check(descriptor, "create", child.text)
        return OpenNode(descriptor, isReference: false, name: child.text)
    }

    package func info() throws(SystemError) -> NodeInfo {
        var info = cl_file_info()
        try check(cl_file_info(descriptor, nil, &info), "stat", name)
        return NodeInfo(info)
    }

    package func info(of child: [UInt8]) throws(SystemError) -> NodeInfo {
        var info = cl_file_info()
        try check(child.withCName { cl_file_info(descriptor, $0, &info) }, "stat", child.text)
        return NodeInfo(info)
    }

    /// The target of the link named `child`.
    package func linkTarget(of child: [UInt8]) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = buffer.withUnsafeMutableBytes { buffer in
            child.withCName { cl_read_link(descriptor, $0, buffer.baseAddress, buffer.count) }
        }
        try check(Int32(clamping: count), "readlink", child.text)
        return Array(buffer.prefix(count))
    }

    /// The names in this folder without `.` and `..`, unsorted.
    ///
    /// - Throws: ``SystemError`` with `EOVERFLOW` above `limit` names.
    package func names(limit: Int) throws(SystemError) -> [[UInt8]] {
        var names: [[UInt8]] = []
        // An earlier listing has left the position at the end.
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw SystemError("lseek", name, code: errno) }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = buffer.withUnsafeMutableBytes { cl_read_folder(descriptor, $0.baseAddress, $0.count) }
            try check(Int32(clamping: count), "getdents", name)
            if count == 0 { return names }
            // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name ended by zero.
            var entry = 0
            while entry + 19 < count {
                let length = Int(buffer[entry + 16]) | Int(buffer[entry + 17]) << 8
                guard length > 19, entry + length <= count else { break }
                let name = Array(buffer[(entry + 19)..<(entry + length)].prefix { $0 != 0 })
                if name != Array(".".utf8), name != Array("..".utf8) { names.append(name) }
                entry += length
            }
            guard names.count <= limit else { throw SystemError("getdents", name, code: EOVERFLOW) }
        }
    }

    /// Reads content into `buffer` from `offset`; fewer bytes than it holds only at the end of the file.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(SystemError) -> Int {
        var filled = 0
        while filled < buffer.count, let base = buffer.baseAddress {
            let count = pread(
                descriptor, base + filled, buffer.count - filled, off_t(clamping: offset + UInt64(filled)))
            if count < 0 {
                if errno == EINTR { continue }
                throw SystemError("read", name, code: errno)
            }
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    /// Writes all of `bytes` at `offset`.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(SystemError) {
        var written = 0
        while written < bytes.count, let base = bytes.baseAddress {
            let count = pwrite(
                descriptor, base + written, bytes.count - written, off_t(clamping: offset + UInt64(written)))
            if count < 0 {
                if errno == EINTR { continue }
                throw SystemError("write", name, code: errno)
            }
            written += count
        }
    }

    /// Makes the file `byteCount` long; what is added reads as zeros and takes no room.
    package func setSize(_ byteCount: UInt64) throws(SystemError) {
        guard ftruncate(descriptor, off_t(clamping: byteCount)) == 0 else {
            throw SystemError("truncate", name, code: errno)
        }
    }

    /// Tells the kernel that the whole content is about to be read in order.
    package func willReadAll() { cl_will_read_all(descriptor) }

    /// The kind of the file system, a number of `linux/magic.h`.
    package func fileSystemMagic() throws(SystemError) -> UInt64 {
        var magic: UInt64 = 0
        try check(cl_file_system_magic(descriptor, &magic), "statfs", name)
        return magic
    }
}

/// Metadata of what is open.
extension OpenNode {
    /// The names of all extended attributes, in the kernel's order; empty where the file system has none.
    package func xattrNames() throws(SystemError) -> [[UInt8]] {
        let bytes = try attribute(name) { cl_list_xattrs(descriptor, isReference ? 1 : 0, $0, $1) }
        return (bytes ?? []).split(separator: 0).map { Array($0) }
    }

    /// The value of an attribute, or nil where there is none of that name.
    package func xattr(_ name: [UInt8]) throws(SystemError) -> [UInt8]? {
        try name.withCNameThrowing { cName throws(SystemError) in
            try attribute("\(name.text) of \(self.name)") {
                cl_get_xattr(descriptor, isReference ? 1 : 0, cName, $0, $1)
            }
        }
    }

    /// Calls with a growing buffer until the value fits; nil where there is none.
    private func attribute(
        _ object: String, _ call: (UnsafeMutableRawPointer?, Int) -> Int
    ) throws(SystemError) -> [UInt8]? {
        var size = 1024
        while true {
            var buffer = [UInt8](repeating: 0, count: size)
            let count = buffer.withUnsafeMutableBytes { call($0.baseAddress, $0.count) }
            if count >= 0 { return Array(buffer.prefix(count)) }
            switch Int32(-count) {
            // The kernel's own limit is 64 KiB; some file systems give more.
            case ERANGE where size < 16 << 20: size *= 8
            case ENODATA, EOPNOTSUPP, ENOSYS: return nil
            default: throw SystemError("getxattr", object, code: Int32(-count))
            }
        }
    }

    package func setXAttr(_ name: [UInt8], to value: [UInt8]) throws(SystemError) {
        let code = value.withUnsafeBytes { value in
            name.withCName { cl_set_xattr(descriptor, isReference ? 1 : 0, $0, value.baseAddress, value.count) }
        }
        try check(code, "setxattr \(name.text) of", self.name)
    }

    package func removeXAttr(_ name: [UInt8]) throws(SystemError) {
        try check(name.withCName { cl_remove_xattr(descriptor, isReference ? 1 : 0, $0) }, "removexattr", self.name)
    }

    /// The inode flags of Linux; nil where the file system has none.
    package func flags() -> UInt32? {
        var flags: UInt32 = 0
        return cl_get_flags(descriptor, &flags) == 0 ? flags : nil
    }

    package func setFlags(_ flags: UInt32) throws(SystemError) {
        try check(cl_set_flags(descriptor, flags), "set flags of", name)
    }

    /// The attributes of a FAT file system; nil elsewhere.
    package func fatAttributes() -> UInt32? {
        var attributes: UInt32 = 0
        return cl_get_fat_attributes(descriptor, &attributes) == 0 ? attributes : nil
    }

    package func setFATAttributes(_ attributes: UInt32) throws(SystemError) {
        try check(cl_set_fat_attributes(descriptor, attributes), "set attributes of", name)
    }

    /// The quota project; nil where the file system has none.
    package func quotaProject() -> UInt32? {
        var project: UInt32 = 0
        return cl_get_project(descriptor, &project) == 0 ? project : nil
    }

    package func setQuotaProject(_ project: UInt32) throws(SystemError) {
        try check(cl_set_project(descriptor, project), "set quota project of", name)
    }

    package func setOwner(user: UInt32, group: UInt32) throws(SystemError) {
        try check(cl_set_owner(descriptor, isReference ? 1 : 0, user, group), "chown", name)
    }

    /// Permissions with setuid, setgid and sticky bits. Not for links.
    package func setMode(_ mode: UInt32) throws(SystemError) {
        try check(cl_set_mode(descriptor, isReference ? 1 : 0, mode & 0o7777), "chmod", name)
    }

    package func setModified(seconds: Int64, nanoseconds: UInt32) throws(SystemError) {
        try check(cl_set_modified(descriptor, isReference ? 1 : 0, seconds, nanoseconds), "utimensat", name)
    }
}

/// Making and removing names in an open folder.
extension OpenNode {
    /// Makes a folder of mode 0700.
    package func makeFolder(_ child: [UInt8]) throws(SystemError) {
        try check(child.withCName { cl_make_folder(descriptor, $0) }, "mkdir", child.text)
    }

    /// Makes a device node, FIFO or socket of mode 0600.
    package func makeNode(
        _ child: [UInt8], _ kind: NodeInfo.Kind, major: UInt32 = 0, minor: UInt32 = 0
    ) throws(SystemError) {
        try check(child.withCName { cl_make_node(descriptor, $0, kind.rawValue, major, minor) }, "mknod", child.text)
    }

    package func makeLink(_ child: [UInt8], target: [UInt8]) throws(SystemError) {
        let code = target.withCName { target in child.withCName { cl_make_symlink(descriptor, $0, target) } }
        try check(code, "symlink", child.text)
    }

    /// Gives the file named `target` in `folder` another name here.
    package func makeHardLink(_ child: [UInt8], to target: [UInt8], in folder: OpenNode) throws(SystemError) {
        let code = target.withCName { target in
            child.withCName { cl_make_hard_link(folder.descriptor, target, descriptor, $0) }
        }
        try check(code, "link", child.text)
    }

    package func removeFile(_ child: [UInt8]) throws(SystemError) {
        try check(child.withCName { cl_remove(descriptor, $0, 0) }, "unlink", child.text)
    }

    /// Removes an empty folder.
    package func removeFolder(_ child: [UInt8]) throws(SystemError) {
        try check(child.withCName { cl_remove(descriptor, $0, 1) }, "rmdir", child.text)
    }

    /// Lets this process have as many open files as it is allowed to: a walk holds one for each level.
    package static func allowManyOpen() {
        // A refusal means a lower limit, which shows when it is reached.
        _ = cl_raise_open_files()
    }
}

extension [UInt8] {
    /// For messages.
    fileprivate var text: String { String(decoding: self, as: UTF8.self) }

    fileprivate func withCName<Value>(_ body: (UnsafePointer<CChar>) -> Value) -> Value {
        (self + [0]).withUnsafeBytes { bytes in
            // Safe: there is at least the zero.
            body(bytes.baseAddress!.assumingMemoryBound(to: CChar.self))
        }
    }

    fileprivate func withCNameThrowing<Value>(
        _ body: (UnsafePointer<CChar>) throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        try withCName { name -> Result<Value, SystemError> in
            do throws(SystemError) { return .success(try body(name)) } catch { return .failure(error) }
        }.get()
    }
}

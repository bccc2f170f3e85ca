import CLinux
import Glibc

/// An open file, read and written at given places. It is closed when the last reference goes.
package final class OpenFile: Sendable {
    package enum Access: Sendable {
        case read
        case readWrite
        /// For reading and writing; made if missing, with these permissions (less the umask).
        case make(mode: UInt32)
        /// As `make`, but it must not exist.
        case makeNew(mode: UInt32)
        /// For writing at the end (`O_APPEND`); made if missing.
        case append(mode: UInt32)
    }

    package let path: String
    package let descriptor: Int32

    /// - Parameter followsLinks: Whether a link as the last component is followed; otherwise it fails with `ELOOP`.
    package init(_ path: String, _ access: Access = .read, followsLinks: Bool = true) throws(SystemError) {
        var flags = O_CLOEXEC | (followsLinks ? 0 : O_NOFOLLOW)
        var mode: UInt32 = 0
        switch access {
        case .read: flags |= O_RDONLY
        case .readWrite: flags |= O_RDWR
        case .make(let permissions):
            flags |= O_RDWR | O_CREAT
            mode = permissions
        case .makeNew(let permissions):
            flags |= O_RDWR | O_CREAT | O_EXCL
            mode = permissions
        case .append(let permissions):
            flags |= O_WRONLY | O_CREAT | O_APPEND
            mode = permissions
        }
        let result = retrying { open(path, flags, mode) }
        guard result >= 0 else { throw .last("open", path) }
        descriptor = result
        self.path = path
    }

    /// Takes over a descriptor that is open already.
    package init(owning descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { _ = close(descriptor) }

    package func status() throws(SystemError) -> FileStatus {
        var result = stat()
        guard fstat(descriptor, &result) == 0 else { throw .last("fstat", path) }
        return FileStatus(result)
    }

    /// Bytes in the file.
    package func byteCount() throws(SystemError) -> Int { try status().byteCount }

    /// Reads up to `buffer.count` bytes at `offset`; fewer only at the end of the file.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(SystemError) -> Int {
        var done = 0
        while done < buffer.count, let base = buffer.baseAddress {
            let got = retrying { pread(descriptor, base + done, buffer.count - done, off_t(offset + done)) }
            if got < 0 { throw .last("read", path) }
            if got == 0 { break }
            done += got
        }
        return done
    }

    /// Up to `count` bytes from `offset`; fewer only at the end of the file.
    package func read(at offset: Int, count: Int) throws(SystemError) -> [UInt8] {
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: max(0, count)) { buffer, initialized in
            do throws(SystemError) {
                initialized = try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The whole content, at most `limit` bytes.
    ///
    /// - Throws: ``SystemError`` with `EFBIG` above the limit.
    package func readAll(limit: Int) throws(SystemError) -> [UInt8] {
        // One byte more than there should be: a shorter result is the end. Files below /proc report no length.
        var room = max(4096, min(try byteCount(), limit) + 1)
        var bytes = try read(at: 0, count: room)
        while bytes.count == room {
            if bytes.count > limit { throw SystemError("read", path, code: EFBIG) }
            bytes += try read(at: bytes.count, count: bytes.count)
            room *= 2
        }
        if bytes.count > limit { throw SystemError("read", path, code: EFBIG) }
        return bytes
    }

    /// Writes all bytes at `offset`; with `append` access, at the end.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(SystemError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let put = retrying { pwrite(descriptor, base + done, bytes.count - done, off_t(offset + done)) }
            if put < 0 { throw .last("write", path) }
            done += put
        }
    }

    package func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(SystemError) { try write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Sets the length; what is added reads as zeros and takes no room.
    package func truncate(to byteCount: Int) throws(SystemError) {
        guard retrying({ ftruncate(descriptor, off_t(byteCount)) }) == 0 else { throw .last("ftruncate", path) }
    }

    /// Waits until content and length are on the disk.
    package func sync() throws(SystemError) {
        guard retrying({ fsync(descriptor) }) == 0 else { throw .last("fsync", path) }
    }

    /// Waits until everything on the file system that holds the file is on the disk. Failed writes since the file was
    /// opened are reported once.
    package func syncFileSystem() throws(SystemError) {
        try check(retrying { cl_syncfs(descriptor) }, "syncfs", path)
    }

    /// Lets the kernel begin to write what is not on the disk yet. A refusal does not matter.
    ///
    /// - Parameter count: Bytes from `offset`; 0 means up to the end.
    func startWriting(at offset: Int, count: Int) { _ = cl_start_writing(descriptor, Int64(offset), Int64(count)) }

    /// Takes those pages of a part out of the page cache that are on the disk. A refusal does not matter.
    ///
    /// - Parameter count: Bytes from `offset`; 0 means up to the end.
    func dropFromCache(at offset: Int, count: Int) {
        _ = posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_DONTNEED)
    }

    /// Lets the kernel begin to read the whole file, in large pieces. A refusal does not matter.
    package func startReading() { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_WILLNEED) }

    package func setMode(_ mode: UInt32) throws(SystemError) {
        guard fchmod(descriptor, mode) == 0 else { throw .last("fchmod", path) }
    }

    package func setOwner(user: UInt32, group: UInt32) throws(SystemError) {
        guard fchown(descriptor, user, group) == 0 else { throw .last("fchown", path) }
    }
}

/// Repeats a call that a signal interrupted.
func retrying<Value: SignedInteger>(_ call: () -> Value) -> Value {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}

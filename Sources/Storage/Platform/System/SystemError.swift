package import BackupFormats
import CLinux
import Glibc

/// A system call that failed: which one, on what, and the kernel's reason.
package struct SystemError: Error, Hashable, Sendable {
    /// The name of the call: `open`, `rename`.
    package let call: String
    /// The path or other object that it was about.
    package let object: String
    /// The value of `errno`.
    package let code: Int32

    package init(_ call: String, _ object: String, code: Int32) {
        self.call = call
        self.object = object
        self.code = code
    }

    /// The failure of the call that just returned, as `errno` has it.
    static func last(_ call: String, _ object: String) -> SystemError {
        SystemError(call, object, code: errno)
    }

    /// As the kernel would say it, for checks that come before its own.
    package static func existing(_ call: String, _ object: String) -> SystemError {
        SystemError(call, object, code: EEXIST)
    }
    package static func folder(_ call: String, _ object: String) -> SystemError {
        SystemError(call, object, code: EISDIR)
    }
    package static func closed(_ call: String, _ object: String) -> SystemError {
        SystemError(call, object, code: EBADF)
    }
    package static func link(_ call: String, _ object: String) -> SystemError {
        SystemError(call, object, code: ELOOP)
    }

    package var isMissing: Bool { code == ENOENT || code == ENOTDIR }
    package var isExisting: Bool { code == EEXIST || code == ENOTEMPTY }
    /// Somebody else holds the lock.
    package var isLocked: Bool { code == EAGAIN || code == EACCES }
    package var isFull: Bool { code == ENOSPC || code == EDQUOT }
    package var isReadOnly: Bool { code == EROFS || code == EACCES || code == EPERM }

    /// What was found a moment ago is not there any more, or has become something else.
    package var isVanished: Bool {
        code == ENOENT || code == ENOTDIR || code == ELOOP || code == ESTALE || code == ENXIO
    }
    package var isDenied: Bool { code == EACCES || code == EPERM }
    /// The kernel cannot hand out so much at once.
    package var isTooBig: Bool { code == E2BIG }
    package var isTooMany: Bool { code == EOVERFLOW }
    /// The file system, or the kernel, does not have this.
    package var isUnsupported: Bool { code == EOPNOTSUPP || code == ENOSYS || code == ENOTTY }

    /// A folder stands where a file was wanted.
    package var isFolder: Bool { code == EISDIR }
    /// A link stands in the way of a call that follows none.
    package var isLink: Bool { code == ELOOP }
    package var isNameTooLong: Bool { code == ENAMETOOLONG }
    /// A file is longer than a limit of ours.
    package var isTooLong: Bool { code == EFBIG }
    /// The file server, or the medium, is gone or broken.
    package var isUnreachable: Bool {
        [EIO, ESTALE, ENOTCONN, EHOSTDOWN, EHOSTUNREACH, ETIMEDOUT, ECONNRESET, ENODEV, ESHUTDOWN].contains(code)
    }

    /// What a caller can do about it.
    package var kind: BackupFailure.Kind {
        if isFull { return .storageFull }
        return switch code {
        case ENOENT, ENOTDIR: .noSuchObject
        case EEXIST, ENOTEMPTY, EAGAIN, EBUSY: .conflict
        case EMFILE, ENFILE, ENOMEM: .unavailable
        default: .internalFault
        }
    }

    /// The same as the failure of what was being done; `summary` names the object in the user's words.
    package func failure(_ summary: String) -> BackupFailure {
        BackupFailure(kind, summary, cause: self)
    }
}

extension SystemError: CustomStringConvertible {
    package var description: String {
        var buffer = [CChar](repeating: 0, count: 256)
        cl_error_text(code, &buffer, buffer.count)
        let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(call) \(object): \(text)"
    }
}

/// Turns the `-errno` of a `CLinux` call into an error.
func check(_ result: Int32, _ call: String, _ object: String) throws(SystemError) {
    if result < 0 { throw SystemError(call, object, code: -result) }
}

import CLinux

/// Random bytes of the kernel, fit for secrets.
package enum SystemRandom {
    package static func bytes(_ count: Int) throws(SystemError) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        let status = result.withUnsafeMutableBytes { cl_random($0.baseAddress, $0.count) }
        try check(status, "getrandom", "\(count) bytes")
        return result
    }

    /// A version 4 UUID as 16 bytes, as index headers hold it.
    package static func uuid() throws(SystemError) -> [UInt8] {
        var result = try bytes(16)
        result[6] = result[6] & 0x0f | 0x40
        result[8] = result[8] & 0x3f | 0x80
        return result
    }
}

import Glibc

/// Standard input, output and error of the process, and other descriptors that it was started with.
package enum StandardStreams {
    package static let input: Int32 = 0
    package static let output: Int32 = 1
    package static let error: Int32 = 2

    /// Reads once, at most `buffer.count` bytes; 0 at the end.
    package static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int
    {
        let got = retrying { Glibc.read(descriptor, buffer.baseAddress, buffer.count) }
        guard got >= 0 else { throw SystemError("read", "descriptor \(descriptor)", code: errno) }
        return got
    }

    /// All bytes up to the end, which must come before `limit`.
    package static func readAll(_ descriptor: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        var result: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var failure: SystemError?
            let got = piece.withUnsafeMutableBytes { buffer in
                do throws(SystemError) { return try read(descriptor, into: buffer) } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw failure }
            if got == 0 { return result }
            guard result.count + got <= limit else {
                throw SystemError("read", "descriptor \(descriptor)", code: EFBIG)
            }
            result += piece[..<got]
        }
    }

    /// Writes all bytes.
    package static func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let put = retrying { Glibc.write(descriptor, base + done, bytes.count - done) }
            guard put >= 0 else { throw SystemError("write", "descriptor \(descriptor)", code: errno) }
            done += put
        }
    }

    package static func write(_ descriptor: Int32, _ bytes: [UInt8]) throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(SystemError) { try write(descriptor, buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Writes text; what cannot be written (nobody reads any more) is lost.
    package static func print(_ text: String, to descriptor: Int32 = output) {
        try? write(descriptor, Array(text.utf8))
    }

    package static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }
}

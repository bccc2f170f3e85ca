// The hot paths, one core each, beside SHA-256 in the same run. Ratios are what to read.

import BackupFormats
import Chunking
import Crypto
import Datastore

/// A fixed pseudo-random megabyte stream (xorshift), so that every run cuts the same data.
func randomBytes(_ count: Int) -> [UInt8] {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        for index in 0..<count / 8 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            UnsafeMutableRawPointer(buffer.baseAddress!).storeBytes(of: state, toByteOffset: index * 8, as: UInt64.self)
        }
        initialized = count / 8 * 8
    }
}

/// One hot path: what it is called, what it does to the input.
@MainActor private struct Kernel {
    let name: String
    let goal: String
    let body: @MainActor () -> Void
    var best = Duration.seconds(1000)

    /// Bytes a second in the best round.
    func rate(_ byteCount: Int) -> Double {
        Double(byteCount) / (Double(best.components.seconds) + Double(best.components.attoseconds) / 1e18)
    }
}

@MainActor private let input = randomBytes(128 << 20)
@MainActor private var sink = 0

/// Digests the input in pieces of a chunk's size.
@MainActor private func digest() {
    input.withUnsafeBytes { bytes in
        for start in stride(from: 0, to: bytes.count, by: 4 << 20) {
            var hasher = SHA256()
            hasher.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes[start..<start + 4 << 20]))
            sink &+= hasher.finalize().first { _ in true }.map(Int.init) ?? 0
        }
    }
}

/// Cuts the input, handed over a mebibyte at a time, as the pipeline does.
@MainActor private func cut() {
    input.withUnsafeBytes { bytes in
        guard var cutter = Chunker(averageSize: Chunker.defaultAverageSize) else { return }
        var start = 0
        while start < bytes.count {
            let end = min(start + 1 << 20, bytes.count)
            if let cut = cutter.nextCut(in: UnsafeRawBufferPointer(rebasing: bytes[start..<end])) {
                sink &+= cut
                start += cut
            } else {
                start = end
            }
        }
    }
}

/// Prints the rates of the hot paths.
@MainActor func measureHotPaths() {
    // The rounds take turns, so that a busy machine disturbs all alike.
    var kernels = [
        Kernel(name: "SHA-256", goal: "", body: digest), Kernel(name: "chunker", goal: "(goal ≥ 1.10)", body: cut),
    ]
    let clock = ContinuousClock()
    for _ in 0..<25 {
        for index in kernels.indices {
            kernels[index].best = min(kernels[index].best, clock.measure { kernels[index].body() })
        }
    }
    let sha = kernels[0].rate(input.count)
    print("hot paths, one core, best of 25 rounds (checksum \(sink & 0xff))")
    for kernel in kernels {
        let rate = kernel.rate(input.count)
        print(
            Row.text(
                kernel.name, mebibytes: rate / 1_048_576, ratio: rate / sha, of: "SHA-256", goal: kernel.goal))
    }
}

/// Lines of a table.
enum Row {
    static func text(_ name: String, mebibytes: Double, ratio: Double, of what: String, goal: String) -> String {
        name + pad("", 24 - name.count) + pad(Decimals.text(mebibytes, 0), 8) + " MiB/s"
            + pad(Decimals.text(ratio, 2), 8)
            + " × \(what)  \(goal)"
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}

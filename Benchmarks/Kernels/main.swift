// The hot paths, one core each, beside SHA-256 in the same run. Ratios are what to read.

import BackupFormats
import Chunking
import Crypto

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

/// The best rate of several runs, in bytes a second.
func bestRate(_ byteCount: Int, rounds: Int = 7, _ body: () -> Void) -> Double {
    let clock = ContinuousClock()
    var best = Duration.seconds(1000)
    for _ in 0..<rounds { best = min(best, clock.measure(body)) }
    let seconds = Double(best.components.seconds) + Double(best.components.attoseconds) / 1e18
    return Double(byteCount) / seconds
}

let input = randomBytes(256 << 20)
var sink = 0

let sha = bestRate(input.count) {
    input.withUnsafeBytes { bytes in
        for start in stride(from: 0, to: bytes.count, by: 4 << 20) {
            var hasher = SHA256()
            hasher.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes[start..<start + 4 << 20]))
            sink &+= hasher.finalize().first { _ in true }.map(Int.init) ?? 0
        }
    }
}

let chunker = bestRate(input.count) {
    input.withUnsafeBytes { bytes in
        guard var cutter = Chunker(averageSize: Chunker.defaultAverageSize) else { return }
        var start = 0
        // Handed over a mebibyte at a time, as the pipeline does.
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

func row(_ name: String, _ rate: Double, goal: String = "") {
    let mebibytes = String(Int(rate / 1_048_576))
    let hundredths = Int((rate / sha * 100).rounded())
    let ratio = "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    func pad(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
    print("\(name)\(pad("", 24 - name.count))\(pad(mebibytes, 8)) MiB/s\(pad(ratio, 8)) × SHA-256  \(goal)")
}

print("hot paths, one core, best of seven (checksum \(sink & 0xff))")
row("SHA-256", sha)
row("chunker", chunker, goal: "(goal ≥ 1.10)")

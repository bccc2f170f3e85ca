import Crypto

/// The two generators in which the fixtures' MANIFEST describes its inputs.
package enum GeneratedData {
    /// SHA-256(seed ‖ i as 8 bytes little-endian) for i = 0, 1, …, joined and cut to `count` bytes.
    package static func shactr(_ seed: String, _ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 32)
        var index: UInt64 = 0
        let prefix = Array(seed.utf8)
        while result.count < count {
            var hasher = SHA256()
            hasher.update(data: prefix)
            withUnsafeBytes(of: index.littleEndian) { hasher.update(bufferPointer: $0) }
            result.append(contentsOf: hasher.finalize())
            index += 1
        }
        result.removeLast(result.count - count)
        return result
    }

    /// Numbered lines of text, cut to `count` bytes.
    package static func lines(_ tag: String, _ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 128)
        let head = Array("\(tag) line ".utf8)
        let middle = Array(": the quick brown fox jumps over the lazy dog ".utf8)
        var index: UInt64 = 0
        while result.count < count {
            result += head
            append(index, base: 10, to: &result)
            result += middle
            append(index &* 2_654_435_761 & 0xffff_ffff, base: 16, to: &result)
            result.append(UInt8(ascii: "\n"))
            index += 1
        }
        result.removeLast(result.count - count)
        return result
    }

    private static func append(_ value: UInt64, base: UInt64, to output: inout [UInt8]) {
        var divisor: UInt64 = base == 10 ? 10_000_000 : 0x1000_0000
        while divisor > 0 {
            let digit = UInt8(truncatingIfNeeded: value / divisor % base)
            output.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            divisor /= base
        }
    }
}

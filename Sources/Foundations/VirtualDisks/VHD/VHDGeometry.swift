/// Cylinders, heads and sectors of a disk, as the appendix of the VHD specification computes them. Informative only:
/// sizes come from the size fields. (Spec: xo-proxy §7.1.)
package struct VHDGeometry: Sendable, Equatable {
    package var cylinders: UInt16
    package var heads: UInt8
    package var sectorsPerTrack: UInt8

    package init(cylinders: UInt16, heads: UInt8, sectorsPerTrack: UInt8) {
        self.cylinders = cylinders
        self.heads = heads
        self.sectorsPerTrack = sectorsPerTrack
    }

    /// Of a disk of `size` bytes. Cylinders are rounded up, so that no tool that trusts the geometry cuts the disk.
    package init(diskOf size: UInt64) {
        let wanted = size / 512 + (size % 512 == 0 ? 0 : 1)
        let total = min(wanted, 65_535 * 16 * 255)
        guard total < 65_535 * 16 * 63 else {
            self.init(trackCount: Self.rounded(total, 255), heads: 16, sectors: 255)
            return
        }
        let tracks = total / 17
        let heads = max(4, (tracks + 1023) / 1024)
        if tracks < heads * 1024, heads <= 16 {
            self.init(trackCount: Self.rounded(total, 17), heads: heads, sectors: 17)
        } else if total / 31 < 16 * 1024 {
            self.init(trackCount: Self.rounded(total, 31), heads: 16, sectors: 31)
        } else {
            self.init(trackCount: Self.rounded(total, 63), heads: 16, sectors: 63)
        }
    }

    private init(trackCount: UInt64, heads: UInt64, sectors: UInt64) {
        cylinders = UInt16(clamping: Self.rounded(trackCount, heads))
        self.heads = UInt8(clamping: heads)
        sectorsPerTrack = UInt8(clamping: sectors)
    }

    private static func rounded(_ value: UInt64, _ divisor: UInt64) -> UInt64 { (value + divisor - 1) / divisor }
}

import BackupFormats

/// What a file in a prefix folder is, by its name. (Spec: formats §9.1.)
struct ChunkFileName {
    enum Kind {
        case chunk
        /// `<digest>.N.bad`: set aside as corrupt.
        case bad
        /// `<digest>.tmp_` and six letters.
        case temporary
        /// `<digest>.using`: a mark of other software's, meaningless once that has ended.
        case using
        case foreign
    }

    private static let digestLength = 2 * ChunkDigest.byteCount

    let kind: Kind
    /// Nil where the name does not begin with one.
    let digest: ChunkDigest?

    init(_ name: UnsafeRawBufferPointer) {
        guard name.count >= Self.digestLength, let digest = Self.digest(name) else {
            (kind, digest) = (.foreign, nil)
            return
        }
        self.digest = digest
        if name.count == Self.digestLength {
            kind = .chunk
            return
        }
        let ending = String(decoding: name[Self.digestLength...], as: UTF8.self)
        let isBad = ending.utf8.count == 6 && ending.hasPrefix(".") && ending.hasSuffix(".bad")
        if isBad, ending.dropFirst().first?.isWholeNumber == true {
            kind = .bad
        } else if ending.hasPrefix(".tmp_"), ending.utf8.count == 11 {
            kind = .temporary
        } else {
            kind = ending == ".using" ? .using : .foreign
        }
    }

    /// The number of a prefix folder; nil for any other name.
    static func prefix(_ name: UnsafeRawBufferPointer) -> UInt16? {
        guard name.count == 4 else { return nil }
        var value: UInt16 = 0
        for byte in name {
            guard let digit = digit(byte) else { return nil }
            value = value << 4 | UInt16(digit)
        }
        return value
    }

    private static func digest(_ name: UnsafeRawBufferPointer) -> ChunkDigest? {
        withUnsafeTemporaryAllocation(byteCount: ChunkDigest.byteCount, alignment: 8) { bytes in
            for index in 0..<ChunkDigest.byteCount {
                guard let high = digit(name[2 * index]), let low = digit(name[2 * index + 1]) else { return nil }
                bytes[index] = high << 4 | low
            }
            return ChunkDigest(loading: UnsafeRawBufferPointer(bytes))
        }
    }

    /// Lower case only, as chunk files are named.
    @inline(__always)
    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

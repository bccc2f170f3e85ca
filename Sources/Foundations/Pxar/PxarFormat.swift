/// The items of an archive, by the number in front of each.
///
/// An archive is a flat row of items. Each starts with 16 bytes: this number,
/// then the size of the item with these 16 bytes, both little-endian.
/// Source: formats specification, section 7.1.
package enum PxarItemType: UInt64, CaseIterable, Sendable {
    case formatVersion = 0x730f_6c75_df16_a40d
    case prelude = 0xe309_d79d_9f7b_771b
    case entry = 0xd595_6474_e588_acef
    case entryVersion1 = 0x11da_850a_1c1c_ceff
    case fileName = 0x1670_1121_0639_17b3
    case symlink = 0x27f9_71e7_dbf5_dc5f
    case device = 0x9fc9_e906_586d_5ce9
    case xattr = 0x0dab_0229_b57d_cd03
    case aclUser = 0x2ce8_540a_457d_55b8
    case aclGroup = 0x136e_3ece_b04c_03ab
    case aclGroupObject = 0x1086_8031_e958_2876
    case aclDefault = 0xbbbb_1341_5a68_96f5
    case aclDefaultUser = 0xc893_57b4_0532_cd1f
    case aclDefaultGroup = 0xf90a_8a58_1603_8ffe
    case fileCapabilities = 0x2da9_dd9d_b5f7_fb67
    case quotaProjectID = 0xe075_40e8_2f7d_1cbb
    case hardLink = 0x5126_9c84_22bd_7275
    case payload = 0x2814_7a1b_0b7c_1a25
    case payloadReference = 0x419d_3d6b_c4ba_977e
    case goodbye = 0x2fec_4fa6_42d5_731d
    case payloadStartMarker = 0x834c_68c2_194a_4ed2
    case payloadTailMarker = 0x6c72_b78b_984c_81b5

    /// The content sizes that are allowed, without the header; nil for an item whose content is not gathered in memory.
    var contentSizes: ClosedRange<UInt64>? {
        switch self {
        case .formatVersion, .aclGroupObject, .quotaProjectID: 8...8
        case .entry: 40...40
        case .entryVersion1, .aclDefault: 32...32
        case .fileName, .symlink: 1...UInt64(PxarLimits.pathSize + 1)
        case .device, .aclUser, .aclGroup, .aclDefaultUser, .aclDefaultGroup, .payloadReference: 16...16
        case .xattr, .fileCapabilities: 0...UInt64(PxarLimits.xattrSize)
        case .hardLink: 9...UInt64(PxarLimits.pathSize + 9)
        case .prelude: 0...UInt64(PxarLimits.preludeSize)
        case .payloadStartMarker, .payloadTailMarker: 0...0
        case .payload, .goodbye: nil
        }
    }
}

/// What a reader accepts at most, and a writer writes at most.
package enum PxarLimits {
    /// The header in front of each item.
    package static let headerSize = 16
    /// Bytes of a name, a link target or the path of a hard link, without the NUL.
    package static let pathSize = 4096
    /// Bytes of an extended attribute: name, NUL and value.
    package static let xattrSize = 65_791
    /// Bytes of an extended attribute's name.
    package static let xattrNameSize = 255
    /// Bytes of the prelude of a split archive. (The format has no limit; ours.)
    package static let preludeSize = 16 << 20
    /// Bytes of all attributes of one entry. (The format has no limit; ours.)
    package static let attributesSize = 16 << 20
    /// Folders inside folders. (The format has no limit; ours.)
    package static let depth = 16_384
}

/// The number in the last item of a goodbye table, in place of a hash.
let goodbyeTailMarker: UInt64 = 0xef5e_ed5b_753e_1555

extension [UInt8] {
    /// Appends the header of an item with `contentSize` bytes behind it.
    mutating func appendHeader(_ type: PxarItemType, contentSize: UInt64) {
        let header = (type.rawValue.littleEndian, (contentSize + UInt64(PxarLimits.headerSize)).littleEndian)
        Swift.withUnsafeBytes(of: header) { append(contentsOf: $0) }
    }
}

/// The payload stream of a split archive: a start marker, then contents, each behind a header, then a tail marker.
///
/// Between them may be anything: only what the metadata stream refers to counts.
package enum PxarPayload {
    /// Whether `bytes` are the header of a content of `contentSize` bytes.
    package static func isHeader(_ bytes: [UInt8], contentSize: UInt64) -> Bool {
        guard bytes.count == PxarLimits.headerSize, contentSize <= UInt64(Int64.max) else { return false }
        return bytes.word(0) == PxarItemType.payload.rawValue
            && bytes.word(8) == contentSize + UInt64(PxarLimits.headerSize)
    }
}

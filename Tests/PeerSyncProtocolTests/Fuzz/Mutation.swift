import CairnTestSupport

/// Changes to bytes as damage and malice make them.
enum Mutation {
    private static let oddBytes: [UInt8] = [0x00, 0x01, 0x7f, 0x80, 0xff]
    /// As lengths and numbers in messages: zero, small, the largest of 32, 63 and 64 bits, and one that never ends.
    private static let oddVarints: [[UInt8]] = [
        [0x00], [0x01], [0xff, 0x01], [0xff, 0xff, 0xff, 0xff, 0x07], [0xff, 0xff, 0xff, 0xff, 0x0f],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]

    /// `bytes` with one to four changes; pieces of `other` may get into it. Never much longer than both.
    static func of(_ bytes: [UInt8], with other: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var result = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...result.count, using: &random)
            let length = min(result.count - place, Int.random(in: 1...16, using: &random))
            switch Int.random(in: 0..<9, using: &random) {
            case 0 where length > 0: result[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1 where length > 0: result[place] = oddBytes.randomElement(using: &random) ?? 0
            case 2: result.removeSubrange(place..<place + length)
            case 3: result.insert(contentsOf: result[place..<place + length], at: place)
            case 4: result.insert(contentsOf: random.bytes(Int.random(in: 1...8, using: &random)), at: place)
            case 5: result.removeSubrange(place...)
            case 6:
                result.replaceSubrange(
                    place..<place + min(length, 1), with: oddVarints.randomElement(using: &random) ?? [])
            case 7:
                let start = Int.random(in: 0...other.count, using: &random)
                result.insert(contentsOf: other[start..<min(other.count, start + 64)], at: place)
            default:
                // A field of some number and wire type behind the others.
                let tag = UInt8.random(in: 0...127, using: &random)
                result += [tag] + (oddVarints.randomElement(using: &random) ?? [])
            }
        }
        return result
    }
}

extension SeededRandom {
    mutating func chance(_ one: Int, in many: Int) -> Bool { Int.random(in: 0..<many, using: &self) < one }
}

import BackupFormats
import CairnTestSupport
import Testing

@testable import Datastore

@Suite("A set of digests")
struct DigestSetTests {
    @Test("has what was put in, and nothing else")
    func membership() {
        var random = SeededRandom(seed: 11)
        let digests = (0..<20_000).map { _ in ChunkDigest(hashing: random.bytes(8)) }
        var set = DigestSet()
        let added = digests.prefix(10_000).map { set.insert($0) } + digests.prefix(10_000).map { set.insert($0) }
        #expect(added == added.indices.map { $0 < 10_000 })
        #expect(set.count == 10_000)
        #expect(digests.map { set.contains($0) } == digests.indices.map { $0 < 10_000 })
    }

    @Test("takes a digest of zeros for new each time")
    func zeros() {
        var set = DigestSet()
        let added = [set.insert(.zero), set.insert(.zero)]
        #expect(added == [true, true] && !set.contains(.zero))
    }

    @Test(
        "is told about in numbers with places",
        arguments: [
            (0, 2, "0.00"), (1.005, 1, "1.0"), (99.996, 2, "100.00"), (-0.5, 2, "-0.50"), (12, 0, "12"),
            (.infinity, 2, "-"), (.nan, 0, "-"),
        ] as [(Double, Int, String)])
    func decimals(_ value: Double, _ places: Int, _ expected: String) {
        #expect(Decimals.text(value, places) == expected)
    }
}

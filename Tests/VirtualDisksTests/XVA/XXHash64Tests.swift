import Testing
import VirtualDisks

@Suite("The checksum XXH64")
struct XXHash64Tests {
    /// Made by the Python package `xxhash` over bytes `7 × i + 3`.
    @Test(
        "is that of others",
        arguments: [
            (0, "EF46DB3751D8E999"),
            (1, "1F25C8D0BC1F4BB6"),
            (3, "31D2363F52E564C9"),
            (4, "9BB64B7D66EE9FDA"),
            (7, "9A7B149959CE60D8"),
            (8, "DAB99D95C6F90092"),
            (31, "A2AA5F33CC4A6119"),
            (32, "23C3C17EF790FD97"),
            (33, "50A7CFC7BA588784"),
            (63, "5E3E54B431C7493C"),
            (64, "0EB64B3EF6EEB01F"),
            (100, "A61F8D4C170FE531"),
            (4096, "796398CD432797CC"),
            (65536, "2C8C45AE2313F2EE"),
        ] as [(Int, String)])
    func vector(count: Int, expected: String) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) }
        #expect(XXHash64.text(bytes) == expected)
    }
}

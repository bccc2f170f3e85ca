import BackupFormats
import Testing

@testable import BlobCoding

@Suite("Gzip")
struct GzipTests {
    @Test("gives back what it took", arguments: [0, 1, 100, 70_000])
    func roundTrip(count: Int) throws {
        let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let file = try #require(Gzip.compress(content))
        #expect(file.prefix(2) == [0x1f, 0x8b])
        #expect(try Gzip.decompress(file, limit: count) == content)
    }

    @Test("reads what others wrote")
    func others() throws {
        // `printf hello | gzip -9n`
        let file: [UInt8] = [
            0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86,
            0xa6, 0x10, 0x36, 0x05, 0x00, 0x00, 0x00,
        ]
        #expect(try Gzip.decompress(file, limit: 5) == Array("hello".utf8))
        #expect(throws: FormatError.tooLong(5, limit: 4, offset: 21)) { try Gzip.decompress(file, limit: 4) }
    }

    @Test("refuses what is cut or changed, wherever")
    func damaged() throws {
        let file = try #require(Gzip.compress(Array("a text that is long enough to be worth it, worth it".utf8)))
        for count in 0..<file.count {
            #expect(throws: FormatError.self) { try Gzip.decompress(Array(file.prefix(count)), limit: 1000) }
        }
        // Not the modification time, flags of the compressor and its system in the header.
        for index in file.indices where !(4...9).contains(index) {
            var changed = file
            changed[index] ^= 0x10
            #expect(throws: FormatError.self, "\(index)") { try Gzip.decompress(changed, limit: 1000) }
        }
    }
}

package import Foundation

import BackupFormats

/// The datastore that the original server wrote, for tests that open it.
///
/// Two chunks of generated random bytes are left out of the repository for their size; they are made here.
package enum FixtureStore {
    /// Slices of the generated file `random-9m.bin`, each one plain chunk: digest, CRC-32, offset, length.
    private static let generated: [(digest: String, checksum: UInt32, offset: Int, count: Int)] = [
        (
            "91154410673a4faa745294d3af85d0a4bae8bf2e814efc8e577ab957d2f68278", 0x022b_35fa, 3_525_354, 4_146_440
        ),
        (
            "7067c98d66f1be2020431ea7e1edd7632082a8d80988c45af3b2b17c0802e578", 0x0fdd_0c4c, 686_264, 2_839_090
        ),
    ]

    /// Copies the whole store into the new folder `folder`, writable and complete.
    package static func copy(to folder: URL) throws {
        let files = FileManager.default
        try files.copyItem(at: Fixtures.url("pbs/store"), to: folder)
        let random = GeneratedData.shactr("pbs-fixture-random-9m", 9 << 20)
        for chunk in generated {
            let prefix = folder.appending(path: ".chunks/\(chunk.digest.prefix(4))")
            try files.createDirectory(at: prefix, withIntermediateDirectories: true)
            var blob: [UInt8] = [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1]
            blob.appendLittleEndian(chunk.checksum)
            blob += random[chunk.offset..<chunk.offset + chunk.count]
            try Data(blob).write(to: prefix.appending(path: chunk.digest))
        }
    }
}

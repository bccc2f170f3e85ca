import Foundation
import Testing

/// Outside modules, and the folders below which they may be imported.
private let homes: [String: [String]] = [
    "Glibc": ["Sources/Storage/Platform"],
    "Musl": ["Sources/Storage/Platform"],
    "Darwin": ["Sources/Storage/Platform"],
    "CLinux": ["Sources/Storage/Platform"],
    "CZstd": ["Sources/Foundations/BlobCoding"],
    "CDeflate": ["Sources/Foundations/BlobCoding"],
    "CCrypt": ["Sources/Services/AccessControl"],
    "GRDB": ["Sources/Storage/StateDatabase"],
    "NIOCore": ["Sources/Protocols", "Sources/Services/ObjectStorage", "Sources/Surfaces", "Sources/Programs"],
    "NIOPosix": ["Sources/Protocols", "Sources/Services/ObjectStorage", "Sources/Surfaces", "Sources/Programs"],
    "NIOSSL": ["Sources/Protocols", "Sources/Services/ObjectStorage", "Sources/Surfaces", "Sources/Programs"],
    "NIOHTTP1": ["Sources/Protocols", "Sources/Services/ObjectStorage", "Sources/Surfaces"],
    "AsyncHTTPClient": ["Sources/Protocols/XenAPI", "Sources/Services/ObjectStorage"],
    "NIOHTTP2": ["Sources/Protocols", "Sources/Surfaces"],
    "ArgumentParser": ["Sources/Surfaces/Commands", "Sources/Programs"],
    "SwiftProtobuf": ["Sources/Protocols/PeerSyncProtocol", "Sources/Services/PeerSync", "Sources/Surfaces"],
    "FoundationEssentials": [
        "Sources/Protocols/PeerSyncProtocol", "Sources/Storage", "Sources/Services", "Sources/Surfaces",
        "Sources/Programs",
    ],
    "Foundation": ["Sources/Storage", "Sources/Services", "Sources/Surfaces", "Sources/Programs"],
    "BlobEncryption": [
        "Sources/Foundations/BlobEncryption", "Sources/Services/BackupClient", "Sources/Surfaces/Commands",
    ],
]

@Suite("The house")
struct LayeringTests {
    @Test("has been found")
    func isNotEmpty() {
        #expect(!House.sources.isEmpty)
    }

    @Test("keeps outside modules where they live", arguments: House.sources)
    func imports(of path: String) throws {
        let text = try House.text(path)
        for line in text.matches(of: /(?m)^(?:@\w+ )*(?:\w+ )?import (?:\w+ )?(?<module>\w+)/) {
            guard let folders = homes[String(line.module)] else { continue }
            #expect(folders.contains { path.hasPrefix($0 + "/") }, "\(path) imports \(line.module)")
        }
    }
}

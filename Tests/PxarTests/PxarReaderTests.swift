import BackupFormats
import Pxar
import Testing

private struct ArraySource: PxarSource {
    var bytes: [UInt8]
    var size: UInt64 { UInt64(bytes.count) }
    func read(at offset: UInt64, count: Int) async throws -> [UInt8] { Array(bytes[Int(offset)..<Int(offset) + count]) }
}

@Suite("A reader with random access")
struct PxarReaderTests {
    @Test("finds what the decoder finds", arguments: fixtureNames)
    func agrees(_ name: String) async throws {
        let bytes = try archive(name)
        let reader = try await PxarReader(ArraySource(bytes: bytes))
        var found: [PxarEntry] = []
        var folders = [reader.root]
        while let folder = folders.popLast() {
            found.append(folder.entry)
            for child in try await reader.children(of: folder) {
                let again = try await reader.child(child.entry.name, of: folder)
                #expect(again?.entry == child.entry)
                if case .directory = child.entry.content { folders.append(child) } else { found.append(child.entry) }
            }
        }
        let decoded = try decode(bytes).compactMap { if case .entry(let entry) = $0 { entry } else { nil } }
        #expect(found.sorted { $0.position < $1.position } == decoded)
    }

    @Test("reads contents and follows hard links")
    func contents() async throws {
        let bytes = try archive("hard")
        let reader = try await PxarReader(ArraySource(bytes: bytes))
        let link = try #require(try await reader.node(at: [Array("sub".utf8), Array("third".utf8)]))
        let target = try await reader.target(of: link)
        let first = try #require(try await reader.node(at: [Array("first".utf8)]))
        #expect(target.entry == first.entry)
        #expect(target.content?.count == 19)
        #expect(try await reader.node(at: [Array("first".utf8), Array("x".utf8)]) == nil)
        #expect(try await reader.child(Array("none".utf8), of: reader.root) == nil)
    }

    @Test("refuses broken tables without reading outside", arguments: ["hard", "acl"])
    func broken(_ name: String) async throws {
        let bytes = try archive(name)
        for index in bytes.indices {
            var broken = bytes
            broken[index] ^= 0x81
            guard let reader = try? await PxarReader(ArraySource(bytes: broken)) else { continue }
            for child in (try? await reader.children(of: reader.root)) ?? [] {
                _ = try? await reader.children(of: child)
                _ = try? await reader.target(of: child)
            }
        }
    }
}

import Platform
import Testing

@Suite("An open node")
struct OpenNodeTests {
    func withFolder(_ body: (String, OpenNode) throws -> Void) throws {
        let path = try FileSystem.makeTemporaryFolder(prefix: "cairn-node-")
        defer { try? FileSystem.removeTree(path) }
        try body(path, try OpenNode(folderAt: path))
    }

    @Test("lists raw names of any bytes")
    func names() throws {
        try withFolder { _, folder in
            let wanted: [[UInt8]] = [
                [0xff, 0xfe], Array("a\nb".utf8), Array("...".utf8), [UInt8](repeating: 76, count: 255),
            ]
            for name in wanted { _ = try folder.makeFile(name) }
            let found = try folder.names(limit: 10)
            #expect(Set(found) == Set(wanted))
            #expect(throws: SystemError.self) { try folder.names(limit: 3) }
        }
    }

    @Test("does not follow links")
    func links() throws {
        try withFolder { path, folder in
            let link = Array("link".utf8)
            try folder.makeLink(link, target: Array("/tmp".utf8))
            #expect(throws: SystemError.self) { try folder.open(link, .folder) }
            #expect(throws: SystemError.self) { try folder.open(link, .reading) }
            #expect(throws: SystemError.self) { try folder.makeFile(link) }
            #expect(try folder.info(of: link).kind == .link)
            #expect(try folder.linkTarget(of: link) == Array("/tmp".utf8))
            let reference = try folder.open(link, .reference)
            try reference.setModified(seconds: -5, nanoseconds: 999_999_999)
            #expect(try folder.info(of: link).modifiedSeconds == -5)
            #expect(try folder.info(of: link).modifiedNanoseconds == 999_999_999)
        }
    }

    @Test("gives and takes extended attributes of any size the kernel allows")
    func xattrs() throws {
        try withFolder { _, folder in
            let file = try folder.makeFile([97])
            let name = Array("user.cairn".utf8)
            guard (try? file.setXAttr(name, to: [])) != nil else {
                return print("skipped: needs a file system with user attributes")
            }
            #expect(try file.xattr(name) == [])
            try file.setXAttr(name, to: [UInt8](repeating: 3, count: 3000))
            #expect(try file.xattr(name)?.count == 3000)
            #expect(try file.xattrNames().contains(name))
            #expect(try folder.open([97], .reference).xattr(name)?.count == 3000)
            try file.removeXAttr(name)
            #expect(try file.xattr(name) == nil)
        }
    }

    @Test("says in its errors what was missing")
    func missing() throws {
        try withFolder { _, folder in
            let error = #expect(throws: SystemError.self) { try folder.info(of: Array("none".utf8)) }
            #expect(error?.isVanished == true)
            #expect(error?.object == "none")
        }
    }
}

@Suite("A POSIX access list")
struct PosixACLTests {
    @Test("is written as the kernel wants it and read back")
    func roundTrip() {
        let list = PosixACL([
            .init(.other, 4), .init(.user, 6, id: 1001), .init(.user, 7, id: 1000), .init(.userObject, 7),
            .init(.mask, 5), .init(.groupObject, 1), .init(.group, 2, id: 4_000_000_000),
        ])
        let value = list.value
        #expect(value.count == 4 + 8 * 7)
        let sorted = PosixACL(parsing: value)?.entries ?? []
        #expect(sorted.map(\.tag) == [.userObject, .user, .user, .groupObject, .group, .mask, .other])
        #expect(sorted[1].id == 1000)
        #expect(sorted[4].id == 4_000_000_000)
    }

    @Test(
        "is refused when it is something else",
        arguments: [[], [2, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0, 1], [2, 0, 0, 0, 3, 0, 7, 0, 0, 0, 0, 0]] as [[UInt8]])
    func refused(_ value: [UInt8]) {
        #expect(PosixACL(parsing: value) == nil)
    }
}

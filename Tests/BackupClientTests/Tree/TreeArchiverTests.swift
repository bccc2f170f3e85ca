import BackupClient
import BackupFormats
import Platform
import Pxar
import Testing

@Suite("A tree archiver")
struct TreeArchiverTests {
    @Test("leaves out what patterns name, and lets in what later ones do")
    func excludes() throws {
        try withFolder { path in
            try shell(
                "cd \(path); mkdir -p sub/deep keep out; touch a.o sub/b.o sub/deep/c.o keep/d.o out/e sub/deep/only x")
            try write("# comment\n\n  \nonly\n!b.o\n[broken\n", to: path + "/sub/.pxarexclude")
            var options = TreeArchiveOptions()
            options.excludes = ["*.o", "!/keep/*", "/out/"]
            let made = try archive(path, options)
            #expect(
                try listing(made.bytes) == [
                    "keep/", "keep/d.o", "sub/", "sub/.pxarexclude", "sub/b.o", "sub/deep/", "x", ".pxarexclude-cli",
                ])
            #expect(made.warnings.count == 1)
            #expect(made.warnings.first?.reason.contains("[broken") == true)
        }
    }

    @Test("leaves out lost+found of the file system's root only")
    func lostAndFound() throws {
        try withFolder { path in
            try shell("cd \(path); mkdir -p lost+found/x sub/lost+found")
            var options = TreeArchiveOptions()
            options.skipsLostAndFound = true
            #expect(try listing(archive(path, options).bytes) == ["sub/", "sub/lost+found/"])
            #expect(try listing(archive(path).bytes).count == 4)
        }
    }

    @Test("stops above the number of entries that it is given")
    func entriesMax() throws {
        try withFolder { path in
            try shell("cd \(path); mkdir a; touch a/1 a/2 b")
            var options = TreeArchiveOptions()
            options.entriesMax = 5
            _ = try archive(path, options)
            options.entriesMax = 4
            let failure = #expect(throws: BackupFailure.self) { try archive(path, options) }
            #expect(failure?.kind == .invalidInput)
            options.entriesMax = 1
            #expect(throws: BackupFailure.self) { try archive(path, options) }
        }
    }

    @Test("leaves mount points empty, unless they are let in")
    func mountPoints() throws {
        guard isRoot, try shell("unshare -m true && echo yes") == "yes\n" else {
            return print("skipped: needs root for mounting")
        }
        try withFolder { path in
            try shell("mkdir \(path)/m \(path)/z; mount -t tmpfs none \(path)/m && touch \(path)/m/inside")
            defer { _ = try? shell("umount \(path)/m") }
            let made = try archive(path)
            #expect(try listing(made.bytes) == ["m/", "z/"])
            #expect(made.warnings.map(\.path) == ["m"])
            var options = TreeArchiveOptions()
            options.crossesFileSystems = true
            #expect(try listing(archive(path, options).bytes) == ["m/", "m/inside", "z/"])
            options.crossesFileSystems = false
            options.includedDevices = [path + "/m"]
            #expect(try listing(archive(path, options).bytes) == ["m/", "m/inside", "z/"])
        }
    }

    @Test("hands over large pieces in order, and stops when the consumer does")
    func pieces() throws {
        try withFolder { path in
            let file = try OpenFile(path + "/big", .make(mode: 0o600))
            try file.truncate(to: 5 << 20)
            let made = try archive(path)
            #expect(made.pieces.allSatisfy { $0 <= 1 << 20 })
            #expect(made.pieces.count == 6)
            struct Full: Error {}
            #expect(throws: Full.self) {
                _ = try TreeArchiver(root: path).run(warn: { _ in }) { _ in throw Full() }
            }
        }
    }

    @Test("fills up files that shrink and cuts those that grow, with a warning")
    func changingFiles() throws {
        try withFolder { path in
            let file = try OpenFile(path + "/file", .make(mode: 0o600))
            try file.write([UInt8](repeating: 7, count: 3 << 20), at: 0)
            for newSize in [2 << 20, 4 << 20] {
                try file.truncate(to: 3 << 20)
                let collected = Collected()
                _ = try TreeArchiver(root: path).run(warn: { collected.warnings.append($0) }) {
                    // The first piece is out; the file is still being read.
                    if collected.bytes.isEmpty { try file.truncate(to: newSize) }
                    collected.bytes += $0
                }
                #expect(collected.warnings.count == 1)
                #expect(collected.warnings.first?.path == "file")
                #expect(try listing(collected.bytes) == ["file"])
                #expect(collected.bytes.count > 3 << 20)
            }
        }
    }

    @Test("takes files that vanish and folders that cannot be opened as warnings")
    func vanishing() throws {
        try withFolder { path in
            try shell("cd \(path); truncate -s 3M a; touch b; mkdir c; touch c/x")
            let collected = Collected()
            let summary = try TreeArchiver(root: path).run(warn: { collected.warnings.append($0) }) {
                if collected.bytes.isEmpty {
                    try FileSystem.removeFile(path + "/b")
                    try FileSystem.removeTree(path + "/c")
                }
                collected.bytes += $0
            }
            #expect(collected.warnings.map(\.path) == ["b", "c"])
            #expect(summary.entries == 2)
            #expect(try listing(collected.bytes) == ["a"])
        }
    }

    @Test("refuses what is no folder, and patterns that are none")
    func refused() throws {
        try withFolder { path in
            try write("x", to: path + "/file")
            let failure = #expect(throws: BackupFailure.self) { try TreeArchiver(root: path + "/none") }
            #expect(failure?.kind == .noSuchObject)
            #expect(throws: BackupFailure.self) { try TreeArchiver(root: path + "/file") }
            var options = TreeArchiveOptions()
            options.excludes = ["["]
            let pattern = #expect(throws: BackupFailure.self) { try TreeArchiver(root: path, options: options) }
            #expect(pattern?.kind == .invalidInput)
        }
    }
}

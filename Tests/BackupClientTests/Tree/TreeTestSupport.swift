import BackupClient
import BackupFormats
import CairnTestSupport
import Foundation
import Platform
import Pxar
import Testing

/// Whether everything that the original's tree has can be made here.
let isRoot = ProcessInformation.isRoot

/// Calls `body` with a new folder, and removes that afterwards.
func withFolder<Value>(_ body: (String) throws -> Value) throws -> Value {
    let path = try FileSystem.makeTemporaryFolder(prefix: "cairn-tree-")
    defer {
        // Flags would keep files from being removed.
        _ = try? shell("chattr -R -i -a '\(path)' 2>/dev/null; chmod -R u+rwx '\(path)' 2>/dev/null; rm -rf '\(path)'")
    }
    return try body(path)
}

/// Runs a line of shell and returns what it printed.
@discardableResult
func shell(_ line: String) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", line]
    process.environment = ["LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
    process.standardOutput = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
}

/// Unpacks the tree that the recorded archives were made of, and adds what a tar cannot hold.
func withRecordedTree<Value>(_ body: (String) throws -> Value) throws -> Value {
    try withFolder { path in
        let tar = Fixtures.url("pbs/source/tree.tar.gz").path
        try shell("tar --xattrs --xattrs-include='*' --acls --numeric-owner -C '\(path)' -xpzf '\(tar)'")
        let root = try OpenNode(folderAt: path + "/tree")
        let special = try root.open(Array("special".utf8), .folder)
        try special.makeNode(Array("socket".utf8), .socket)
        let socket = try special.open(Array("socket".utf8), .reference)
        try socket.setMode(0o755)
        try socket.setModified(seconds: 1_700_003_000, nanoseconds: 649_649)
        try special.setModified(seconds: 1_700_002_000, nanoseconds: 737_737)
        let flags = try root.open(Array("flags".utf8), .folder)
        for (name, bits) in [("append", 0x20), ("immutable", 0x10), ("noatime", 0x80), ("nodump", 0x40)]
            as [(String, UInt32)]
        {
            let file = try flags.open(Array(name.utf8), .reading)
            try file.setFlags((file.flags() ?? 0) | bits)
        }
        return try body(path + "/tree")
    }
}

final class Collected {
    var bytes: [UInt8] = []
    var pieces: [Int] = []
    var warnings: [TreeWarning] = []
}

/// The archive of a folder.
func archive(_ path: String, _ options: TreeArchiveOptions = TreeArchiveOptions()) throws -> Collected {
    let collected = Collected()
    let summary = try TreeArchiver(root: path, options: options).run(warn: { collected.warnings.append($0) }) {
        collected.bytes += $0
        collected.pieces.append($0.count)
    }
    #expect(summary.bytes == UInt64(collected.bytes.count))
    #expect(summary.warnings == collected.warnings.count)
    return collected
}

/// Restores an archive into `path`, handed over in pieces.
@discardableResult
func extract(
    _ bytes: [UInt8], into path: String, _ options: TreeExtractOptions = TreeExtractOptions(), slice: Int = 1000
) throws -> (summary: TreeSummary, warnings: [TreeWarning]) {
    let collected = Collected()
    let extractor = try TreeExtractor(into: path, options: options) { collected.warnings.append($0) }
    for start in stride(from: 0, to: bytes.count, by: slice) {
        try bytes[start..<min(bytes.count, start + slice)].withUnsafeBytes { try extractor.push($0) }
    }
    return (try extractor.finish(), collected.warnings)
}

func fixture(_ name: String) throws -> [UInt8] { try Fixtures.bytes("pbs/pxar/\(name).pxar") }

func write(_ text: String, to path: String) throws {
    let file = try OpenFile(path, .make(mode: 0o644))
    try file.write(Array(text.utf8), at: 0)
}

/// Paths from the root of an archive, folders with a slash behind.
func listing(_ bytes: [UInt8]) throws -> [String] {
    var decoder = PxarDecoder()
    var names: [String] = []
    var result: [String] = []
    try bytes.withUnsafeBytes { input in
        var offset = 0
        while let event = try decoder.next(in: input, at: &offset) {
            switch event {
            case .entry(let entry):
                let name = String(decoding: entry.name, as: UTF8.self)
                guard entry.content == .directory else {
                    result.append((names + [name]).joined(separator: "/")); continue
                }
                if !entry.name.isEmpty {
                    names.append(name)
                    result.append(names.joined(separator: "/") + "/")
                }
            case .directoryEnd: _ = names.popLast()
            default: break
            }
        }
    }
    try decoder.finish()
    return result
}

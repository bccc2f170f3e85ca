import BackupFormats
import CairnTestSupport
import Foundation
import Platform
import Testing
import VirtualDisks

@testable import XenBackup

@Suite("The classic layout in a folder")
struct ClassicFolderTests {
    private static let qemu = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    private let folder: TemporaryFolder
    private let remote: FileRemote
    private let setting: ClassicSetting

    init() async throws {
        folder = try TemporaryFolder()
        remote = try await FileRemote.open(folder.path, name: "folder", time: .system)
        setting = ClassicSetting(over: remote)
    }

    private func disks() throws -> [String] {
        (FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []).filter {
            $0.hasSuffix(".vhd")
        }.sorted()
    }

    /// Lets `qemu-img` compare a file with a disk.
    private func compare(_ path: String, _ disk: PlainDisk) throws {
        var bytes: [UInt8] = []
        for index in 0..<DiskGeometry.blockCount(disk.size) {
            bytes += PlainDisk.bytes(disk.blocks[index] ?? 0, disk.used(index)).prefix(disk.used(index))
        }
        let raw = folder.path + "/raw"
        try Data(bytes).write(to: URL(fileURLWithPath: raw))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.qemu))
        process.arguments = ["compare", "-f", "vpc", "-F", "raw", folder.path + "/" + path, raw]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(path): \(text)")
    }

    @Test(
        "holds merged disks that qemu-img reads as we do", .enabled(if: qemu != nil, "skipped: needs qemu-utils"),
        arguments: [UInt64(71), 72])
    func merged(seed: UInt64) async throws {
        var history = DiskHistory(seed: seed)
        let live = history.addDisk(blocks: 3)
        history.addDisk(blocks: 2)
        for day in 1...4 {
            if day == 3 { history.grow(live, to: 20) }
            try await history.backUp(setting, day, retention: 1)
            try await history.check(setting, "seed \(seed) day \(day)")
            let paths = try disks()
            #expect(paths.count == 2)
            for path in paths {
                let disk = try #require(history.disks[path.split(separator: "/").map(String.init)[4]])
                try compare(path, disk)
            }
            history.changeSome()
        }
        await remote.close()
    }

    @Test("keeps, lists and cleans as in memory, and gives the machine free")
    func everything() async throws {
        var history = DiskHistory(seed: 73)
        history.addDisk(blocks: 3)
        for day in 1...4 {
            try await history.backUp(setting, day, retention: 3)
            history.changeSome()
        }
        try await history.check(setting)
        #expect(try disks().count == 3)
        #expect(try await setting.repository.vmBackups(of: nil).keys.sorted() == [ClassicSetting.vm])
        let target = try await setting.repository.target(for: ClassicSetting.vm)
        #expect(try await remote.list("xo-vm-backups") == [ClassicSetting.vm, "\(ClassicSetting.vm).lock"])
        #expect(try await setting.repository.vmBackups(of: nil).keys.sorted() == [ClassicSetting.vm])
        await target.release()
        #expect(try await remote.list("xo-vm-backups") == [ClassicSetting.vm])
        let ids = try await setting.list().map(\.id)
        try await setting.repository.deleteVMBackups(ids, task: setting.record.root())
        #expect(try disks() == [])
        #expect(try await setting.list().isEmpty)
        await remote.close()
    }

    @Test("gives way to a stray file among machines, jobs and disks")
    func strays() async throws {
        var history = DiskHistory(seed: 74)
        history.addDisk(blocks: 2)
        try await history.backUp(setting, 1)
        for stray in [
            "xo-vm-backups/stray", "\(ClassicSetting.machine)/vdis/stray", "\(ClassicSetting.machine)/vdis/job-1/stray",
        ] {
            try await remote.write(stray, [1], .new)
        }
        try await remote.makeFolder("\(ClassicSetting.machine)/vdis/job-1/folder.vhd/folder.vhd")
        try await remote.makeFolder("\(ClassicSetting.machine)/20200101T000000Z.xva")
        #expect(try await setting.repository.vmBackups(of: nil).count == 1)
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        try await history.check(setting)
        history.changeSome()
        try await history.backUp(setting, 2, retention: 1)
        try await history.check(setting)
        await remote.close()
    }
}

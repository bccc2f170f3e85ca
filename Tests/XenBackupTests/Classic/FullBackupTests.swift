import BackupFormats
import BlobCoding
import CairnTestSupport
import Testing

@testable import XenBackup

@Suite("Full backups in the classic layout")
struct FullBackupTests {
    private let setting = ClassicSetting()

    @Test("lie beside their checksum and their metadata, and come back as they were")
    func writeAndRead() async throws {
        let id = try await setting.backUpFull(1)
        #expect(id == "/\(ClassicSetting.machine)/20240602T000000Z.json")
        let folder = ClassicSetting.machine
        #expect(
            setting.files.paths == [
                "\(folder)/20240602T000000Z.json", "\(folder)/20240602T000000Z.xva",
                "\(folder)/20240602T000000Z.xva.checksum",
            ])
        let checksum = String(
            decoding: setting.files.content("\(folder)/20240602T000000Z.xva.checksum") ?? [], as: UTF8.self)
        #expect(checksum.hasPrefix("$1$$") && checksum.count == 36)
        let reader = try await setting.repository.openBackup(id)
        let (stream, size) = try await reader.xva()
        #expect(size == 2560)
        #expect(try await collect(stream) == ClassicSetting.xva(1))
        #expect(reader.metadata.json["xva"] == "./20240602T000000Z.xva")
        #expect(reader.metadata.size == 2560)
        await reader.close()
    }

    @Test("have the checksum that MD5 gives")
    func checksum() async throws {
        try await setting.withTarget { target in
            let writer = try await target.begin(ClassicSetting.plan(.full, 1))
            // A compressed XVA is taken unseen.
            let bytes: [UInt8] = [0x1f, 0x8b] + [UInt8](repeating: 0x61, count: 98)
            #expect(try await writer.write(xva: BytesSource(bytes), maxByteCount: 100) == 100)
            _ = try await writer.commit(ClassicSetting.metadata(.full, 1))
        }
        let text = setting.files.content("\(ClassicSetting.machine)/20240602T000000Z.xva.checksum")
        #expect(text == Array("$1$$f2e5b3b1e3b8047a282e35fa809b3cca".utf8))
    }

    @Test("that were cut on their way leave nothing")
    func cut() async throws {
        for bytes in [[], Array(ClassicSetting.xva(1).dropLast(512)), Array(ClassicSetting.xva(1).dropLast(1))] {
            try await setting.withTarget { target in
                let writer = try await target.begin(ClassicSetting.plan(.full, 1))
                await expectFailure(.corruptData) {
                    try await writer.write(xva: BytesSource(bytes), maxByteCount: 10_000)
                }
                await writer.abort()
            }
            #expect(setting.files.paths == [])
        }
    }

    @Test("that are given up are not listed and leave nothing")
    func abort() async throws {
        try await setting.withTarget { target in
            let writer = try await target.begin(ClassicSetting.plan(.full, 1))
            let bytes = ClassicSetting.xva(1)
            _ = try await writer.write(xva: BytesSource(bytes), maxByteCount: 10_000)
            #expect(try await setting.list().isEmpty)
            await writer.abort()
        }
        #expect(setting.files.paths == [])
    }

    @Test("never replace another of the same second")
    func conflict() async throws {
        try await setting.backUpFull(1)
        await expectFailure(.conflict) { try await setting.backUpFull(1) }
        #expect(try await setting.ids() == [ClassicSetting.name(1)])
    }

    @Test("are refused while another holds the machine, with the words that people know")
    func locked() async throws {
        let target = try await setting.repository.target(for: ClassicSetting.vm)
        do {
            _ = try await setting.repository.target(for: ClassicSetting.vm)
            Issue.record("two targets at once")
        } catch let failure as BackupFailure {
            #expect(failure.summary == "Lock file is already being held")
        }
        await target.release()
        await (try await setting.repository.target(for: ClassicSetting.vm)).release()
    }

    @Test("on object stores work too, deltas do not")
    func objectStore() async throws {
        let setting = ClassicSetting(MemoryFiles(isFileSystem: false))
        let id = try await setting.backUpFull(1)
        #expect(try await setting.list().map(\.id) == [id])
        try await setting.withTarget { target in
            try await target.prepare(task: setting.record.root())
            await expectFailure(.unsupported) { try await target.begin(ClassicSetting.plan(.delta, 2)) }
            #expect(try await target.disksWithBase(["a": "b"], jobID: "job-1") == [])
        }
        try await setting.repository.deleteVMBackups([id], task: setting.record.root())
        #expect(try await setting.list().isEmpty)
        #expect(setting.files.paths == ["\(ClassicSetting.machine)/cache.json.gz"])
    }

    @Test("are all that a remote with disks as folders takes")
    func blockFolders() async throws {
        let setting = ClassicSetting(MemoryFiles(usesBlockFolders: true))
        try await setting.backUpFull(1)
        try await setting.withTarget { target in
            await expectFailure(.unsupported) { try await target.begin(ClassicSetting.plan(.delta, 2)) }
        }
        #expect(try await setting.ids() == [ClassicSetting.name(1)])
    }

    @Test("are kept by number, each schedule for itself, before or after the new one")
    func retention() async throws {
        for day in 1...4 { try await setting.backUpFull(day) }
        for day in 5...6 { try await setting.backUpFull(day, schedule: "sch-2") }
        let task = setting.record.root()
        try await setting.withTarget { target in
            try await target.applyRetention(
                RetentionRule(count: 3), mode: .full, scheduleID: "sch-1", isBefore: false, task: task)
        }
        #expect(try await setting.ids() == (2...6).map(ClassicSetting.name))
        try await setting.withTarget { target in
            try await target.applyRetention(
                RetentionRule(count: 3), mode: .full, scheduleID: "sch-1", isBefore: true, task: task)
            try await target.applyRetention(
                RetentionRule(count: 1), mode: .delta, scheduleID: "sch-1", isBefore: false, task: task)
        }
        #expect(try await setting.ids() == (3...6).map(ClassicSetting.name))
        #expect(setting.files.paths.filter { $0.contains("2024060") && $0.hasSuffix(".xva") }.count == 4)
    }

    @Test("that retention cannot remove stay, with a warning, and fail nothing")
    func protected() async throws {
        for day in 1...3 { try await setting.backUpFull(day) }
        let path = "\(ClassicSetting.machine)/\(ClassicSetting.name(1))"
        setting.files.protect(path)
        let task = setting.record.root()
        try await setting.withTarget { target in
            try await target.applyRetention(
                RetentionRule(count: 1), mode: .full, scheduleID: "sch-1", isBefore: false, task: task)
        }
        #expect(try await setting.ids() == [1, 3].map(ClassicSetting.name))
        #expect(setting.files.content("\(ClassicSetting.machine)/20240602T000000Z.xva") != nil)
        #expect(setting.record.warnings.count == 1)
    }

    @Test("whose data is gone are taken out of the list, strays are removed, other files stay")
    func clean() async throws {
        for day in 1...3 { try await setting.backUpFull(day) }
        let folder = ClassicSetting.machine
        try await setting.files.remove("\(folder)/20240603T000000Z.xva")
        for stray in ["20200101T000000Z.xva", "20200102T000000Z.xva.checksum", ".1717.x.xva", "notes.txt", ".nfs0001"] {
            try await setting.files.write("\(folder)/\(stray)", [1], .new)
        }
        _ = try await setting.list()
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(try await setting.ids() == [1, 3].map(ClassicSetting.name))
        #expect(
            setting.files.paths.map(ClassicPath.name(of:)) == [
                ".nfs0001", "20240602T000000Z.json", "20240602T000000Z.xva", "20240602T000000Z.xva.checksum",
                "20240604T000000Z.json", "20240604T000000Z.xva", "20240604T000000Z.xva.checksum", "cache.json.gz",
                "notes.txt",
            ])
        #expect(setting.record.warnings.contains("The XVA of a backup is missing"))
    }

    @Test("that look damaged are kept, with a warning")
    func suspicious() async throws {
        try await setting.backUpFull(1)
        let path = "\(ClassicSetting.machine)/20240602T000000Z.xva"
        try await setting.files.write(path, Array(ClassicSetting.xva(1).dropLast(512)), .replace)
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(setting.record.warnings == ["The XVA of a backup looks damaged: its end is missing"])
        #expect(try await setting.ids() == [ClassicSetting.name(1)])
    }

    @Test("with metadata that nobody understands keep their data, and can be deleted")
    func damagedMetadata() async throws {
        try await setting.backUpFull(1)
        try await setting.backUpFull(2)
        let folder = ClassicSetting.machine
        try await setting.files.write("\(folder)/\(ClassicSetting.name(1))", Array("{\"mode\":\"fu".utf8), .replace)
        try await setting.withTarget { try await $0.clean(task: setting.record.root()) }
        #expect(try await setting.ids() == [ClassicSetting.name(2)])
        #expect(setting.files.content("\(folder)/20240602T000000Z.xva") != nil)
        try await setting.repository.deleteVMBackups(
            ["/\(folder)/\(ClassicSetting.name(1))"], task: setting.record.root())
        #expect(setting.files.content("\(folder)/20240602T000000Z.xva") == nil)
        #expect(try await setting.ids() == [ClassicSetting.name(2)])
    }

    @Test("are deleted by id, missing ones silently, unknown modes not, locked ones without a clean")
    func deletion() async throws {
        var ids: [String] = []
        for day in 1...4 { ids.append(try await setting.backUpFull(day)) }
        let task = setting.record.root()
        try await setting.repository.deleteVMBackups([ids[1]], task: task)
        #expect(try await setting.ids() == [1, 3, 4].map(ClassicSetting.name))
        try await setting.repository.deleteVMBackups(
            [ids[1], "xo-vm-backups/nobody/20240101T000000Z.json"], task: task)
        await expectFailure(.invalidInput) {
            try await setting.repository.deleteVMBackups(["/xo-vm-backups/../x/y.json"], task: task)
        }
        var odd = ClassicSetting.metadata(.full, 9).json
        odd["mode"] = "odd"
        let path = "\(ClassicSetting.machine)/\(ClassicSetting.name(9))"
        try await setting.files.write(path, Array(JSONValue.object(odd).compactText.utf8), .new)
        do {
            try await setting.repository.deleteVMBackups(["/" + path], task: task)
            Issue.record("deleted")
        } catch let failure as BackupFailure {
            #expect(failure.summary == "no deleter for backup modes: odd")
        }
        let target = try await setting.repository.target(for: ClassicSetting.vm)
        try await setting.repository.deleteVMBackups([ids[0], ids[2]], task: task)
        await target.release()
        #expect(try await setting.ids() == [4, 9].map(ClassicSetting.name))
        #expect(setting.files.paths.count { $0.hasSuffix(".xva") } == 1)
    }
}

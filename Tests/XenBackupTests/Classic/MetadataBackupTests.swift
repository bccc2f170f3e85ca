import BackupFormats
import Testing

@testable import XenBackup

@Suite("Metadata backups in the classic layout")
struct MetadataBackupTests {
    private let setting: ClassicSetting
    private static let schedule = "11111111-2222-4333-8444-555555555555"
    private static let pool = "99999999-2222-4333-8444-555555555555"

    init() { self.init(over: ClassicSetting()) }
    private init(over setting: ClassicSetting) { self.setting = setting }

    private func write(_ kind: MetadataKind, _ day: Int, _ data: [UInt8], retention: Int = 3) async throws {
        try await setting.repository.writeMetadataBackup(
            MetadataBackup(
                kind: kind, scheduleID: Self.schedule, poolUUID: kind == .pool ? Self.pool : nil,
                timestamp: ClassicSetting.time(day),
                metadata: ["jobId": "j", "jobName": "n", "timestamp": .integer(ClassicSetting.time(day))],
                dataName: kind == .pool ? "data" : "data.json", data: BytesSource(data), retention: retention))
    }

    @Test("of both kinds are written, listed and read", arguments: MetadataKind.allCases)
    func roundTrip(_ kind: MetadataKind) async throws {
        try await write(kind, 2, [1, 2, 3])
        try await write(kind, 1, [4])
        let list = try await setting.repository.metadataBackups(kind)
        let series = "\(kind.rawValue)/\(Self.schedule)" + (kind == .pool ? "/\(Self.pool)" : "")
        #expect(
            list.map { $0["id"] } == [
                .string("/\(series)/20240602T000000Z"), .string("/\(series)/20240603T000000Z"),
            ])
        let id = try #require(list[1]["id"]?.stringValue)
        for form in [id, String(id.dropFirst())] {
            let read = try await setting.repository.readMetadataBackup(form)
            #expect(read.metadata["jobName"] == "n")
            #expect(read.dataName == (kind == .pool ? "data" : "data.json"))
            #expect(try await collect(read.data) == [1, 2, 3])
        }
        let text = String(
            decoding: setting.files.content("\(series)/20240602T000000Z/metadata.json") ?? [], as: UTF8.self)
        #expect(text.hasPrefix("{\n  \"jobId\": \"j\""))
        await expectFailure(.conflict) { try await write(kind, 2, [9]) }
        #expect(try await setting.repository.metadataBackups(kind).count == 2)
    }

    @Test("without a name of their data have the old one")
    func old() async throws {
        let folder = "xo-config-backups/\(Self.schedule)/20240602T000000Z"
        try await setting.files.write("\(folder)/metadata.json", Array("{\"timestamp\":5}".utf8), .new)
        try await setting.files.write("\(folder)/data.json", [7], .new)
        #expect(try await collect(try await setting.repository.readMetadataBackup(folder).data) == [7])
        try await setting.files.write(
            "\(folder)/metadata.json", Array("{\"data\":\"../../secret\"}".utf8), .replace)
        await expectFailure(.corruptData) { try await setting.repository.readMetadataBackup(folder) }
    }

    @Test("are kept by number; damaged ones are left out of the list")
    func retention() async throws {
        for day in 1...5 { try await write(.pool, day, [UInt8(day)], retention: 2) }
        #expect(try await setting.repository.metadataBackups(.pool).count == 2)
        #expect(setting.files.paths.count == 4)
        let last = try #require(setting.files.paths.last { $0.hasSuffix("metadata.json") })
        try await setting.files.write(last, [1], .replace)
        #expect(try await setting.repository.metadataBackups(.pool).count == 1)
    }

    @Test("lie on object stores, too")
    func objectStore() async throws {
        let store = MetadataBackupTests(over: ClassicSetting(MemoryFiles(isFileSystem: false)))
        for day in 1...3 { try await store.write(.pool, day, [UInt8(day)], retention: 2) }
        let list = try await store.setting.repository.metadataBackups(.pool)
        #expect(list.count == 2)
        let id = try #require(list[0]["id"]?.stringValue)
        #expect(try await collect(try await store.setting.repository.readMetadataBackup(id).data) == [2])
        try await store.setting.repository.deleteMetadataBackup(id)
        #expect(store.setting.files.paths.count == 2)
        #expect(try await store.setting.repository.metadataBackups(.orchestra) == [])
    }

    @Test("are deleted by an id of the right form only")
    func deletion() async throws {
        try await write(.orchestra, 1, [1])
        let id = "/xo-config-backups/\(Self.schedule)/20240602T000000Z"
        for bad in [
            "", "/", "/xo-config-backups", "/xo-config-backups/\(Self.schedule)",
            "/xo-vm-backups/\(Self.schedule)/20240602T000000Z",
            "/xo-config-backups/../\(Self.schedule)/20240602T000000Z", "/xo-config-backups/x/20240602T000000Z",
            "/xo-config-backups/\(Self.schedule)/..", id + "/metadata.json",
        ] { await expectFailure(.invalidInput) { try await setting.repository.deleteMetadataBackup(bad) } }
        #expect(try await setting.repository.metadataBackups(.orchestra).count == 1)
        try await setting.repository.deleteMetadataBackup(id)
        try await setting.repository.deleteMetadataBackup(id)
        #expect(setting.files.paths == [])
    }

    @Test("that fail on their way leave nothing")
    func failing() async throws {
        await expectFailure(.corruptData) {
            try await setting.repository.writeMetadataBackup(
                MetadataBackup(
                    kind: .orchestra, scheduleID: Self.schedule, poolUUID: nil, timestamp: 0, metadata: [:],
                    dataName: "data", data: RaggedSource([UInt8](repeating: 1, count: 9000), seed: 1, failsAt: 5000),
                    retention: 1))
        }
        #expect(setting.files.paths == [])
    }
}

import BackupFormats
import BlobCoding
import Testing

@testable import XenBackup

@Suite("The listing of the classic layout")
struct ListingTests {
    private let setting = ClassicSetting()

    private func write(_ day: Int, _ json: JSONObject, vm: String = ClassicSetting.vm) async throws {
        try await setting.files.write(
            "xo-vm-backups/\(vm)/\(ClassicSetting.name(day))", Array(JSONValue.object(json).compactText.utf8), .replace)
    }

    @Test("shows exactly the members that the caller knows, of a full backup")
    func full() async throws {
        try await setting.backUpFull(1)
        let entry = try #require(try await setting.list().first).listing(remoteID: "remote-1")
        #expect(
            JSONValue.object(entry)
                == [
                    "backupRepository": "remote-1", "disks": [],
                    "id": .string("/\(ClassicSetting.machine)/\(ClassicSetting.name(1))"), "isImmutable": false,
                    "jobId": "job-1", "mode": "full", "scheduleId": "sch-1", "size": 2560, "tags": [],
                    "timestamp": .integer(ClassicSetting.time(1)), "type": "xo-vm-backup",
                    "vm": [
                        "uuid": .string(ClassicSetting.vm), "name_label": "web1", "name_description": "",
                        "tags": ["prod"],
                    ],
                    "withMemory": false,
                ])
    }

    @Test("shows disks, memory and kinds of disks of a delta")
    func delta() async throws {
        var json = ClassicSetting.metadata(.delta, 1).json
        json["size"] = 5
        json["tags"] = ["daily=2024-06-02"]
        json["vmSnapshot"] = ["suspend_VDI": "OpaqueRef:memory"]
        json["vdis"] = [
            "OpaqueRef:1": ["uuid": "snap-1", "name_label": "root"],
            "OpaqueRef:memory": ["uuid": "mem-1", "name_label": "suspend"],
        ]
        json["vhds"] = ["OpaqueRef:1": "vdis/job-1/live-1/x.vhd", "OpaqueRef:memory": "./vdis/job-1/mem-1/x.vhd"]
        json["isVhdDifferencing"] = ["OpaqueRef:1": true, "OpaqueRef:memory": false]
        try await write(1, json)
        let entry = try #require(try await setting.list().first).listing(remoteID: "r")
        let folder = "/\(ClassicSetting.machine)"
        #expect(
            entry["disks"] == [
                ["id": .string("\(folder)/vdis/job-1/live-1/x.vhd"), "name": "root", "uuid": "snap-1"],
                ["id": .string("\(folder)/vdis/job-1/mem-1/x.vhd"), "name": "suspend", "uuid": "mem-1"],
            ])
        #expect(entry["withMemory"] == true)
        #expect(entry["differencingVhds"] == 1)
        #expect(entry["dynamicVhds"] == 0)
        #expect(entry["tags"] == ["daily=2024-06-02"])
        json["isVhdDifferencing"] = nil
        json["vmSnapshot"] = nil
        json["size"] = nil
        try await write(1, json)
        try await setting.files.remove("\(ClassicSetting.machine)/cache.json.gz")
        let bare = try #require(try await setting.list().first).listing(remoteID: "r")
        #expect(bare["withMemory"] == false)
        #expect(bare["differencingVhds"] == nil && bare["dynamicVhds"] == nil && bare["size"] == nil)
    }

    @Test("turns numbers of very old files into truth values, and only there")
    func old() async throws {
        var json = ClassicSetting.metadata(.delta, 1).json
        json["vm"] = ["uuid": "x", "is_a_template": 0, "VCPUs_max": 1, "ha_always_run": 1]
        json["vdis"] = ["r": ["uuid": "v", "managed": 1, "virtual_size": 1, "sharable": 0]]
        json["vbds"] = ["b": ["bootable": 1, "userdevice": 0]]
        try await write(1, json)
        let metadata = try #require(try await setting.list().first).metadata
        #expect(metadata.vm["is_a_template"] == false)
        #expect(metadata.vm["ha_always_run"] == true)
        #expect(metadata.vm["VCPUs_max"] == 1)
        #expect(metadata.vdis["r"] == ["uuid": "v", "managed": true, "virtual_size": 1, "sharable": false])
        #expect(metadata.json["vbds"]?["b"] == ["bootable": true, "userdevice": 0])
    }

    @Test("knows machines by their folders, not locks, hidden names or files, and leaves out those without backups")
    func machines() async throws {
        let json = ClassicSetting.metadata(.full, 1).json
        try await write(1, json, vm: "vm-a")
        try await write(2, json, vm: "vm-a")
        try await write(1, json, vm: ".queue")
        try await write(1, json, vm: "vm-a.lock")
        try await setting.files.makeFolder("xo-vm-backups/vm-b")
        try await setting.files.write("xo-vm-backups/stray", [1], .new)
        let all = try await setting.repository.vmBackups(of: nil)
        #expect(all.mapValues(\.count) == ["vm-a": 2])
        #expect(try await setting.repository.vmBackups(of: "vm-b").isEmpty)
        #expect(try await ClassicSetting().repository.vmBackups(of: nil).isEmpty)
        await expectFailure(.invalidInput) { try await setting.repository.vmBackups(of: "../etc") }
    }

    @Test("is right whatever the cache says")
    func cache() async throws {
        for day in 1...3 { try await setting.backUpFull(day) }
        let cache = "\(ClassicSetting.machine)/cache.json.gz"
        let names = (1...3).map(ClassicSetting.name)
        #expect(try await setting.ids() == names)
        let good = try #require(setting.files.content(cache))
        // Missing, of no use, cut, of another machine.
        let bads: [[UInt8]] = [
            [], [1, 2, 3], Array(good.dropLast(9)), try #require(Gzip.compress(Array("{\"/x/y\":{}}".utf8))),
        ]
        for bad in bads {
            try await setting.files.write(cache, bad, .replace)
            #expect(try await setting.ids() == names)
            #expect(setting.files.content(cache) == good)
        }
        try await setting.files.remove(cache)
        #expect(try await setting.ids() == names)
        // Stale by one in and one out: the same number.
        try await setting.files.remove("\(ClassicSetting.machine)/\(names[0])")
        try await write(4, ClassicSetting.metadata(.full, 4).json)
        #expect(try await setting.ids() == (2...4).map(ClassicSetting.name))
    }

    @Test("is read from the cache when that fits, with what others add to the entries taken off")
    func cached() async throws {
        try await setting.backUpFull(1)
        _ = try await setting.list()
        let cache = "\(ClassicSetting.machine)/cache.json.gz"
        let text = try Gzip.decompress(try #require(setting.files.content(cache)), limit: 1 << 20)
        var json = try #require(try JSONValue(parsing: text).objectValue)
        let id = "/\(ClassicSetting.machine)/\(ClassicSetting.name(1))"
        #expect(json.members.map(\.name) == [id])
        #expect(json[id]?["_filename"] == .string(id))
        #expect(json[id]?["id"] == .string(id))
        var entry = try #require(json[id]?.objectValue)
        entry["size"] = 77
        json[id] = .object(entry)
        try await setting.files.write(
            cache, try #require(Gzip.compress(Array(JSONValue.object(json).compactText.utf8))), .replace)
        let metadata = try #require(try await setting.list().first).metadata
        #expect(metadata.size == 77)
        #expect(metadata.json["_filename"] == nil && metadata.json["id"] == nil)
    }

    @Test("says which backups cannot be changed, and then uses no cache")
    func immutable() async throws {
        try await setting.backUpFull(1)
        let path = "\(ClassicSetting.machine)/\(ClassicSetting.name(1))"
        try await setting.files.write("immutability.json", Array("{}".utf8), .new)
        #expect(try await setting.list().map(\.isImmutable) == [false])
        let frozen = MemoryFiles(isFileSystem: false, isImmutable: true)
        try await frozen.write(path, try await setting.files.read(path, limit: 1 << 20), .new)
        #expect(try await ClassicSetting(frozen).list().map(\.isImmutable) == [true])
        #expect(frozen.paths == [path])
    }

    @Test("fails where a machine cannot be listed, instead of hiding its backups")
    func failing() async throws {
        try await setting.backUpFull(1)
        setting.files.breakPath(ClassicSetting.machine, BackupFailure(.unavailable, "broken"))
        await expectFailure(.unavailable) { try await setting.list() }
    }

    @Test("adds up the sizes of machines' backups, and nothing else")
    func total() async throws {
        #expect(try await setting.repository.totalBackupSize() == ["onDisk": 0])
        try await setting.backUpFull(1)
        try await setting.backUpFull(2)
        var json = ClassicSetting.metadata(.delta, 3).json
        json["size"] = 1000
        try await write(3, json, vm: "vm-b")
        try await write(4, ClassicSetting.metadata(.delta, 4).json, vm: "vm-b")
        try await setting.files.write("xo-config-backups/s/20240602T000000Z/data", [1, 2, 3], .new)
        #expect(try await setting.repository.totalBackupSize() == ["onDisk": .integer(2 * 2560 + 1000)])
    }
}

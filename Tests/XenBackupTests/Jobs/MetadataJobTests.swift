import BackupFormats
import Synchronization
import Testing
import XenAPI

@testable import XenBackup

@Suite("A job of metadata")
struct MetadataJobTests {
    static func parameters(_ world: XenWorld, _ job: JSONObject, settings: JSONObject, remotes: [String]? = nil)
        -> JSONObject
    {
        var job = job
        job["type"] = "metadataBackup"
        return world.parameters([], settings: settings, job: job, remotes: remotes)
    }

    static func world() -> XenWorld {
        let world = XenWorld()
        let master = world.host.add("host", ["uuid": "host-1"])
        _ = world.host.add("pool", ["uuid": "pool-1", "master": .string(master)])
        return world
    }

    static let both: JSONObject = ["retentionPoolMetadata": 2, "retentionXoMetadata": 3]

    @Test("writes configuration and pools to every remote")
    func writes() async throws {
        let world = Self.world()
        let tree = try await world.run(
            Self.parameters(world, ["pools": ["id": "pool-1"], "xoMetadata": "{\"a\":1}"], settings: Self.both))
        for remote in world.remotes {
            let written = remote.state.withLock { Array(zip($0.metadata, $0.metadataContents)) }
            #expect(written.count == 2)
            let pool = try #require(written.first { $0.0.kind == .pool })
            #expect(pool.1 == Array("database".utf8))
            #expect(pool.0.poolUUID == "pool-1")
            #expect(pool.0.dataName == "data")
            #expect(pool.0.retention == 2)
            #expect(pool.0.metadata["pool"]?["uuid"] == "pool-1")
            #expect(pool.0.metadata["poolMaster"]?["uuid"] == "host-1")
            let configuration = try #require(written.first { $0.0.kind == .orchestra })
            #expect(configuration.1 == Array("{\"a\":1}".utf8))
            #expect(configuration.0.dataName == "data.json")
            #expect(configuration.0.retention == 3)
            #expect(configuration.0.metadata["data"] == "./data.json")
            #expect(configuration.0.metadata["jobName"] == "nightly")
            #expect(configuration.0.metadata["scheduleName"] == "daily")
        }
        #expect(world.host.calls("export database") == 1)
        let pool = try #require(tree.all("Starting metadata backup for the pool (pool-1). (job-1)").first)
        #expect(pool.properties["type"] == "pool")
        #expect(tree.children(of: pool).compactMap { $0.properties["id"]?.stringValue }.sorted() == ["r1", "r2"])
        let configuration = try #require(tree.all("Starting XO metadata backup. (job-1)").first)
        #expect(configuration.properties == ["type": "xo"])
    }

    @Test("keeps an encrypted configuration as its bytes")
    func base64() async throws {
        let world = Self.world()
        try await world.run(
            Self.parameters(world, ["xoMetadata": ["encoding": "base64", "data": "AAEC/w=="]], settings: Self.both))
        #expect(world.remotes[0].state.withLock { $0.metadataContents } == [[0, 1, 2, 255]])
        #expect(world.remotes[0].state.withLock { $0.metadata.map(\.dataName) } == ["data"])
    }

    @Test("is refused where nothing can come of it")
    func refusals() async throws {
        let world = Self.world()
        let cases: [(JSONObject, JSONObject, [String]?, String)] = [
            (["xoMetadata": "x"], Self.both, [], "metadata backup job cannot run without remotes"),
            ([:], Self.both, nil, "no metadata mode found"),
            (
                ["xoMetadata": "x"], ["retentionPoolMetadata": 2], nil,
                "no retentions corresponding to the metadata modes found"
            ),
            (
                ["pools": ["id": "pool-1"]], ["retentionXoMetadata": 2], nil,
                "no retentions corresponding to the metadata modes found"
            ),
        ]
        for (job, settings, remotes, message) in cases {
            let (_, failure) = await world.attempt(Self.parameters(world, job, settings: settings, remotes: remotes))
            #expect((failure as? BackupFailure)?.summary == message)
        }
    }

    @Test("goes on where a pool or a remote fails")
    func partial() async throws {
        let world = Self.world()
        world.host.fault("export database") { throw XenFailure(code: "HOST_OFFLINE") }
        world.remotes[1].fault("metadata") { throw BackupFailure(.storageFull, "the remote is full") }
        let tree = try await world.run(
            Self.parameters(world, ["pools": ["id": "pool-1"], "xoMetadata": "x"], settings: Self.both))
        #expect(tree.all("Starting metadata backup for the pool (pool-1). (job-1)").first?.isSuccess == false)
        #expect(tree.all("Starting XO metadata backup for the remote (r1). (job-1)").first?.isSuccess == true)
        #expect(tree.all("Starting XO metadata backup for the remote (r2). (job-1)").first?.isSuccess == false)
        #expect(world.remotes[0].state.withLock { $0.metadata.map(\.kind) } == [.orchestra])
    }

    @Test("is read back as it was written")
    func restore() async throws {
        let world = Self.world()
        try await world.run(
            Self.parameters(world, ["pools": ["id": "pool-1"], "xoMetadata": "{\"a\":1}"], settings: Self.both))
        let remotes: JSONObject = ["r1": ["url": "file:///r1"], "gone": ["url": "file:///gone"]]
        let configurations = try await world.service.listMetadataBackups("xo-config-backups", remotes: remotes)
        let id = try #require(configurations["r1"]?.arrayValue?.first?["id"]?.stringValue)
        #expect(configurations["gone"] == nil)
        let pools = try await world.service.listMetadataBackups("xo-pool-metadata-backups", remotes: remotes)
        let poolID = try #require(pools["r1"]?["pool-1"]?.arrayValue?.first?["id"]?.stringValue)

        let parameters: JSONObject = ["backupId": .string(id), "remote": ["id": "r1"]]
        #expect(try await world.service.admitMetadataRestore(parameters)["metadata"]?["jobId"] == "job-1")
        let root = TestTree().root()
        #expect(try await world.service.restoreMetadata(parameters, root: root) == "{\"a\":1}")
        var poolParameters: JSONObject = ["backupId": .string(poolID), "remote": ["id": "r1"]]
        let withoutHost = poolParameters
        await #expect(throws: BackupFailure.self) { try await world.service.admitMetadataRestore(withoutHost) }
        poolParameters["xapi"] = ["url": "https://host"]
        _ = try await world.service.restoreMetadata(poolParameters, root: root)
        #expect(world.host.calls("import database 8") == 1)
        #expect(world.remotes.allSatisfy { $0.isAtRest })
    }

    @Test("listings fail where every remote does")
    func listing() async throws {
        let world = Self.world()
        await #expect(throws: BackupFailure.self) {
            try await world.service.listVMBackups(remotes: ["gone": ["url": "x"]], vm: nil)
        }
        #expect(try await world.service.listVMBackups(remotes: ["r1": [:]], vm: "vm9") == ["r1": ["vm9": []]])
        #expect(try await world.service.listVMBackups(remotes: [:], vm: nil) == [:])
        #expect(await world.service.testRemote(["id": "gone"])["success"] == false)
        #expect(await world.service.testRemote(["id": "r1"])["success"] == true)
    }
}

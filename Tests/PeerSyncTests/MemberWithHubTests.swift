import BackupFormats
import BackupServer
import CairnTestSupport
import PeerSync
import PeerSyncProtocol
import StateDatabase
import SwiftProtobuf
import Synchronization
import Tasks
import Testing

@Suite("A member and a hub of the same make")
struct MemberWithHubTests {
    /// Gives a member streams to a hub of this process, which may be another one each time.
    final class LocalDialer: PeerDialer {
        private let hub: Mutex<TestHub>
        init(_ hub: TestHub) { self.hub = Mutex(hub) }
        func set(_ hub: TestHub) { self.hub.withLock { $0 = hub } }
        func dial(_ address: HubAddress) async throws -> any PeerStream { hub.withLock { $0 }.connect().stream }
    }

    func join(_ world: MemberWorld, _ token: PairingToken) throws {
        try world.directory.add(
            Peer(
                keyID: token.keyID, instanceID: token.instanceID, role: .hub,
                address: try HubAddress(parsing: "http://hub.example:9898"),
                grants: [try PeerGrant(.readOperations, scopes: ["*"])], pairingSecret: token.secret, added: 1))
    }

    @Test("pair, agree on operations, and agree again when the hub lost all")
    func pairing() async throws {
        var hub = try TestHub()
        let dialer = LocalDialer(hub)
        let world = try MemberWorld(store: true, other: dialer)
        try SampleBackup().run(in: try world.stores.datastore("store", for: .write))
        try join(world, try await hub.token())
        try await world.run {
            let keyID = world.directory.identity.keyID
            try await world.until("paired") { hub.directory.peer(keyID: keyID) != nil }
            try await world.until("the snapshot") { try await !hub.operations(of: keyID).isEmpty }
            let kept = try #require(try await hub.operations(of: keyID).first)
            #expect(kept.record.plan == "store" && kept.record.kind == 101 && kept.record.instance == "box")
            let peer = try #require(world.directory.peers.first)
            #expect(peer.pairingSecret == nil)
            #expect(hub.states.state(of: keyID)?.knownRepos.map(\.id) == ["store"])
            try await world.until("the plan") { hub.states.state(of: keyID)?.knownPlans.map(\.id) == ["store"] }

            let owner = AuthID(parsing: "root@pam")!
            let task = world.tasks.start("garbage_collection", id: "store", owner: owner)
            task.finish(.error("no"))
            try await world.until("the failure") {
                try await hub.operations(of: keyID).contains { $0.record.status == 4 }
            }
            let failed = try await hub.operations(of: keyID).filter { $0.record.status == 4 }
            #expect(failed.map(\.record.plan) == ["_system_"])

            // The hub starts again; what it had of the operations is gone.
            hub.service.stop()
            let before = try await hub.operations(of: keyID)
            try await hub.database.write { try OperationStore.remove(member: keyID, in: $0) }
            let folder = hub.folder
            hub.database.close()
            hub = try TestHub(in: folder)
            dialer.set(hub)
            try await world.until("all of them again") {
                try await hub.operations(of: keyID).count >= before.count
            }
            let after = try await hub.operations(of: keyID)
            #expect(Set(after.map(\.record.originalID)) == Set(before.map(\.record.originalID)))
        }
        hub.service.stop()
    }
}

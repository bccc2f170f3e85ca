import AccessControl
import BackupFormats
import BackupServer
import CairnTestSupport
import Datastore
import Foundation
import StateDatabase
import Tasks
import Testing

@Suite("Garbage collection over REST")
struct CollectionTests {
    /// Members whose values depend on the run; removed and pending ones, because the original holds garbage back for a day.
    private static let differing = [
        "upid", "duration", "last-run-endtime", "pending-bytes", "pending-chunks", "removed-bytes", "removed-chunks",
    ]

    @Test("runs as a task, and tells the figures of the original about the original's store")
    func run() async throws {
        let world = try World()
        try FixtureStore.copy(to: URL(fileURLWithPath: world.folder + "/stores/fix"))
        try world.addStore("fix", reusing: true)
        let admin = try await world.user("admin", .admin)
        let before = try await world.send("GET", "/admin/datastore/fix/gc", as: admin)
        #expect(before.json.sorted() == (try RecordedAnswerTests.recorded("GET-gc-status")))

        let started = try await world.send("POST", "/admin/datastore/fix/gc", as: admin)
        let upid = try UPID(parsing: try #require(started.data.stringValue, "\(started.text)"))
        #expect(upid.workerType == "garbage_collection" && upid.workerID == "fix")
        await world.tasks.waitUntilStopped(upid)
        let path = "/nodes/localhost/tasks/\("\(upid)".replacing("\\", with: "%5C"))"
        #expect(try await world.send("GET", "\(path)/status", as: admin).data["exitstatus"] == "OK")
        let log = try await world.send("GET", "\(path)/log", as: admin, query: [("limit", "0")])
        #expect(log.text.contains("Deduplication factor: 13.79"))

        let ours = try await world.send("GET", "/admin/datastore/fix/gc", as: admin).data
        let theirs = try RecordedAnswerTests.recorded("GET-gc-status-after")["data"]
        #expect(ours.objectValue?.members.map(\.name) == theirs?.objectValue?.members.map(\.name))
        for member in theirs?.objectValue?.members ?? [] where !Self.differing.contains(member.name) {
            #expect(ours[member.name] == member.value, "\(member.name)")
        }
        #expect(ours["upid"] == .string("\(upid)"))
        #expect(ours["removed-chunks"] == theirs?["pending-chunks"])
        #expect(try await world.send("GET", "/admin/gc", as: admin).data == [ours])
        #expect(try await world.send("GET", "/admin/gc/fix", as: admin).data == [ours])
        let status = try await world.send("GET", "/admin/datastore/fix/status", as: admin, query: [("verbose", "1")])
        #expect(status.data["gc-status"]?["disk-chunks"] == 47)
        let usage = try await world.send("GET", "/status/datastore-usage", as: admin).data.arrayValue?.first
        #expect(usage?["gc-status"]?["upid"] == .string("\(upid)"))
    }

    @Test("is refused while one runs, and where the datastore may not be written or lies in another")
    func refusals() async throws {
        let world = try World()
        let store = try world.addStore("one")
        let admin = try await world.user("admin", .admin)
        let lease = try store.reserveCollection()
        #expect(try await world.send("POST", "/admin/datastore/one/gc", as: admin).status == 400)
        lease.release()
        let started = try await world.send("POST", "/admin/datastore/one/gc", as: admin)
        #expect(started.status == 200)
        await world.tasks.waitUntilStopped(try UPID(parsing: started.data.stringValue ?? ""))
        let grant = try world.access.grant(.all, on: .root, to: world.root)
        let inner = DatastoreRecord(name: "inner", path: "\(world.folder)/stores/one/inner", properties: [:])
        let nested = #expect(throws: BackupFailure.self) { try world.stores.reserve(inner, by: grant) }
        #expect(nested?.summary.contains("inside each other") == true)
        _ = try await world.send(
            "PUT", "/config/datastore/one", as: admin, json: ["maintenance-mode": "read-only"])
        let reading = try await world.send("POST", "/admin/datastore/one/gc", as: admin)
        #expect(reading.status == 400 && reading.text.contains("read-only"), "\(reading.text)")
        #expect(try await world.send("GET", "/admin/datastore/one/gc", as: admin).status == 200)
        #expect(try await world.send("POST", "/admin/datastore/no/gc", as: admin).status != 200)
    }

    @Test("shows only datastores that one may audit")
    func rights() async throws {
        let world = try World()
        try world.addStore("one")
        try world.addStore("two")
        let auditor = try await world.user("auditor", .datastoreAudit, on: "/datastore/two")
        let list = try await world.send("GET", "/admin/gc", as: auditor).data
        #expect(list.arrayValue?.compactMap { $0["store"]?.stringValue } == ["two"])
        #expect(try await world.send("GET", "/admin/gc/one", as: auditor).status == 403)
        #expect(try await world.send("POST", "/admin/datastore/two/gc", as: auditor).status == 403)
    }
}

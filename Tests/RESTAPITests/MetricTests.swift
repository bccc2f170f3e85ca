import AccessControl
import BackupFormats
import BackupServer
import Platform
import RESTAPI
import StateDatabase
import Testing

@Suite("The page for Prometheus")
struct MetricsPageTests {
    static let token = "0123456789abcdef"

    private func page(_ world: World, authorization: String?) async throws -> Reply {
        try await world.reply(
            await world.answer("GET", "/metrics", headers: authorization.map { [("authorization", $0)] } ?? []))
    }

    @Test("is not there unless a token was given")
    func off() async throws {
        let world = try World()
        #expect(try await page(world, authorization: "Bearer \(Self.token)").status == 404)
    }

    @Test("needs its token, which opens nothing else")
    func token() async throws {
        let world = try World(metricsToken: " \(Self.token)\n")
        #expect(try await page(world, authorization: nil).status == 401)
        #expect(try await page(world, authorization: "Bearer \(Self.token)x").status == 401)
        #expect(try await page(world, authorization: "Bearer ").status == 401)
        #expect(try await page(world, authorization: "Bearer \(Self.token)").status == 200)
        let other = try await world.reply(
            await world.answer("GET", "/api2/json/version", headers: [("authorization", "Bearer \(Self.token)")]))
        #expect(other.status == 401)
        #expect(throws: BackupFailure.self) { try MetricsPage(token: "short") }
    }

    @Test("tells of datastores, jobs, tasks and traffic")
    func content() async throws {
        let world = try World(metricsToken: Self.token)
        try world.addStore("store1", settings: ["gc-schedule": "daily"])
        try world.addSnapshot("host/web", 1_700_000_000, in: "store1", owner: "root@pam")
        try world.alerts.refresh()
        let text = try await page(world, authorization: "bearer \(Self.token)").text
        for line in [
            #"cairn_datastore_up{datastore="store1"} 1"#, #"cairn_datastore_snapshots{datastore="store1"} 1"#,
            #"cairn_job_running{kind="garbage-collection",job="store1",datastore="store1"} 0"#,
            "cairn_sessions_open 0", "# TYPE cairn_http_requests_total counter",
        ] {
            #expect(text.contains("\n\(line)\n"), "\(line)")
        }
        #expect(text.hasSuffix("\n") && !text.contains("\n\n"))
    }
}

@Suite("The history of metrics")
struct MetricHistoryTests {
    @Test("is given by time frame, to those who may see it")
    func frames() async throws {
        let world = try World()
        try world.addStore("store1")
        try world.history.record()
        let auditor = try await world.user("auditor", .audit)
        let nobody = try await world.user("nobody")
        for frame in TimeFrame.allCases {
            let query = [("timeframe", frame.rawValue), ("cf", "AVERAGE")]
            let rows = try #require(
                try await world.send("GET", "/admin/datastore/store1/rrd", as: auditor, query: query).data.arrayValue)
            #expect(rows.count == Int(frame.length / frame.step))
            #expect(rows.contains { ($0["total"]?.doubleValue ?? 0) > 0 })
            let host = try await world.send("GET", "/nodes/localhost/rrd", as: auditor, query: query).data
            #expect(host.arrayValue?.contains { $0["cpu"]?.doubleValue == 0.25 } == true)
            #expect(
                try await world.send("GET", "/admin/datastore/store1/rrd", as: nobody, query: query).status == 403)
        }
        let metrics = try await world.send("GET", "/status/metrics", as: auditor).data["data"]?.arrayValue ?? []
        #expect(metrics.contains { $0["id"] == "datastore/store1" && $0["metric"] == "disk_total" })
        #expect(metrics.contains { $0["id"] == "host" && $0["metric"] == "cpu_current" && $0["type"] == "gauge" })
        #expect(try await world.send("GET", "/status/metrics", as: nobody).data == ["data": []])
    }

    @Test("foretells when a datastore will be full")
    func full() async throws {
        let world = try World()
        try world.addStore("store1")
        let now = TimeSource.system.seconds
        let admin = try await world.user("admin", .admin)
        func usage() async throws -> JSONValue? {
            try await world.send("GET", "/status/datastore-usage", as: admin).data.arrayValue?.first
        }
        #expect(try await usage()?["estimated-full-date"] == nil)
        // A hundredth of the whole a day, half of it used now.
        try await world.database.write { state in
            for day in 0..<20 {
                let time = now - Int64(day) * 86400
                for (figure, value) in [("total", 1000.0), ("used", 500.0 - 10 * Double(day))] {
                    try state.addSample(
                        value, to: MetricHistory.store("store1", figure), at: time, step: 1800, keep: 40 * 86400)
                }
            }
        }
        let full = try #require(try await usage()?["estimated-full-date"]?.intValue)
        #expect(abs(full - (now + 50 * 86400)) < 2 * 86400)
        let history = try #require(try await usage()?["history"]?.arrayValue)
        #expect(history.count == 1488 && history.count { !$0.isNull } == 20)
    }

    @Test("keeps average and maximum, and forgets what is too old")
    func consolidation() throws {
        let world = try World()
        let samples = try world.database.write { state in
            for (time, value) in [(600, 1.0), (660, 5), (1790, 3), (1800, 9), (4000, 2)] {
                try state.addSample(value, to: "host/cpu", at: Int64(time), step: 1800, keep: 3600)
            }
            return try state.samples(of: "host/cpu", step: 1800, since: 0)
        }
        #expect(
            samples == [
                MetricSample(time: 1800, average: 9, maximum: 9), MetricSample(time: 3600, average: 2, maximum: 2),
            ])
        let one = try world.database.write { state in
            for value in [1.0, 5, 3] { try state.addSample(value, to: "x", at: 60, step: 60, keep: 60) }
            return try state.samples(of: "x", step: 60, since: 0)
        }
        #expect(one == [MetricSample(time: 60, average: 3, maximum: 5)])
    }
}

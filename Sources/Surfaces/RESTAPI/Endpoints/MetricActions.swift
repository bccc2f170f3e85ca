import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI
import StateDatabase

/// How the machine and the datastores did. (Spec: rest E.4, E.7, E.8.)
extension Routes {
    static let metrics: [String: EndpointAction] = [
        "GET \(store)/rrd": { call in
            let name = try call.values.string("store")
            _ = try call.services.stores.record(name)
            return try await rows(
                MetricHistory.storeFigures.map { ($0, MetricHistory.store(name, $0)) }, call)
        },
        "GET /nodes/{node}/rrd": { call in
            try await rows(MetricHistory.hostFigures.map { ($0, MetricHistory.host($0)) }, call)
        },
        "GET /status/metrics": { call in
            let caller = try call.identity.authID
            let access = call.services.access
            var series: [(id: String, metric: String, series: String)] = []
            if access.privileges(of: caller, on: .systemStatus).contains(.sysAudit) {
                series += hostMetrics.map { ("host", $0.metric, MetricHistory.host($0.figure)) }
            }
            for record in call.services.stores.records
            where access.privileges(of: caller, on: .datastore(record.name)).contains(.datastoreAudit) {
                series += storeMetrics.map {
                    ("datastore/\(record.name)", $0.metric, MetricHistory.store(record.name, $0.figure))
                }
            }
            let (isHistory, since) = (call.flag("history"), (call.number("start-time") ?? 0) + 1)
            let points = try await call.blocking { [series] in
                try series.flatMap { id, metric, name -> [JSONValue] in
                    let samples = try call.services.history.recent(name, since: since)
                    return (isHistory ? samples : samples.suffix(1)).map { sample in
                        [
                            "id": .string(id), "metric": .string(metric), "timestamp": .integer(sample.time),
                            "type": "gauge", "value": .number("\(sample.average)"),
                        ]
                    }
                }
            }
            return .data(["data": .array(points)])
        },
    ]

    /// Names of metrics as collectors know them, and the figures they come from.
    private static let hostMetrics: [(metric: String, figure: String)] = [
        ("cpu_current", "cpu"), ("cpu_iowait", "iowait"), ("cpu_avg1", "loadavg"), ("mem_total", "memtotal"),
        ("mem_used", "memused"), ("swap_total", "swaptotal"), ("swap_used", "swapused"), ("disk_total", "total"),
        ("disk_used", "used"), ("disk_available", "available"),
    ]
    private static let storeMetrics: [(metric: String, figure: String)] = [
        ("disk_total", "total"), ("disk_used", "used"), ("disk_available", "available"),
    ]

    private static func rows(_ figures: [(name: String, series: String)], _ call: Call) async throws -> EndpointResult {
        guard let frame = TimeFrame(rawValue: try call.values.string("timeframe")),
            let consolidation = Consolidation(rawValue: try call.values.string("cf"))
        else { throw BackupFailure(.internalFault, "the parameters of \(call.endpoint.name) were not checked") }
        let rows = try await call.blocking { try call.services.history.rows(of: figures, frame, consolidation) }
        return .data(.array(rows.map { .object($0) }))
    }
}

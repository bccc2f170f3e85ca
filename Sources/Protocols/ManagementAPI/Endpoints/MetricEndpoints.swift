import BackupFormats
import BackupProtocol

/// How the machine and the datastores did. (Spec: rest E.4, E.7, E.8.)
extension Endpoint {
    static let metrics: [Endpoint] = [
        Endpoint(
            .get, "/admin/datastore/{store}/rrd", "Tells how a datastore did over a time.",
            access: .privilege(anyOf: ["Datastore.Audit", "Datastore.Backup"], on: "/datastore/{store}"),
            [.store, timeFrame, consolidation], result: "[{time, total?, used?, available?}]"),
        Endpoint(
            .get, "/nodes/{node}/rrd", "Tells how the machine did over a time.",
            access: .privilege(anyOf: ["Sys.Audit"], on: "/system/status"), [.node, timeFrame, consolidation],
            result:
                "[{time, cpu?, iowait?, loadavg?, memtotal?, memused?, swaptotal?, swapused?, total?, used?, available?}]"
        ),
        Endpoint(
            .get, "/status/metrics", "Tells the latest measurements, or those of the last half an hour.",
            access: .anybody(
                note:
                    "the machine's with Sys.Audit on `/system/status`, those of datastores on which one has Datastore.Audit"
            ),
            [
                EndpointParameter.boolean("history", "All of the last half an hour.").optional(false),
                .integer("start-time", 0...Int64.max, "Only those after this time.").optional(0),
            ],
            result: "{data: [{id, metric, timestamp, type: gauge, value}]}"),
    ]

    private static let timeFrame = EndpointParameter.choice(
        "timeframe", ["hour", "day", "week", "month", "year", "decade"], "How far back.")
    private static let consolidation = EndpointParameter.choice(
        "cf", ["MAX", "AVERAGE"], "What becomes of the values of one step.")
}

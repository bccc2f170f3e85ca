import BackupFormats
import BackupProtocol

extension Endpoint {
    static let nodes: [Endpoint] = [
        Endpoint(
            .get, "/nodes", "Names the one node.", access: .privilege(anyOf: [AccessRule.superuser], on: "/"),
            result: "[{node}]"),
        Endpoint(
            .get, "/nodes/{node}/status", "Tells how the machine does.",
            access: .privilege(anyOf: ["Sys.Audit"], on: "/system/status"), [.node],
            result: "{memory, swap, root, uptime, loadavg, cpu, wait, cpuinfo, kversion, current-kernel, info}"),
        Endpoint(
            .get, "/nodes/{node}/tasks", "Lists tasks, newest first.",
            access: .anybody(note: "own ones and those of own tokens; all with Sys.Audit on `/system/tasks`"),
            [
                .node, EndpointParameter.integer("start", 0...Int64.max, "Leave out so many.").optional(0),
                EndpointParameter.integer("limit", 0...Int64.max, "At most so many; 0 means all.").optional(50),
                EndpointParameter.store.optional(),
                EndpointParameter.boolean("running", "Only running ones.").optional(false),
                .boolean("errors", "Only failed ones.").optional(false),
                .text("userfilter", "Part of the owner's name.", length: 0...256).optional(),
                .integer("since", Int64.min...Int64.max, "Started at this time or later.").optional(),
                .integer("until", Int64.min...Int64.max, "Started at this time or earlier.").optional(),
                .text("typefilter", "Part of the type.", length: 0...256).optional(),
                .list("statusfilter", of: ["ok", "warning", "error", "unknown"], "Ended like this.").optional(),
            ],
            result:
                "[{upid, node, pid, pstart, starttime, worker_type, worker_id, user, endtime?, status?}] and `total`"),
        Endpoint(
            .get, "/nodes/{node}/tasks/{upid}/status", "Tells how a task does.", access: taskAccess, [.node, .upid],
            result: "{upid, node, pid, pstart, starttime, type, id, user, tokenid?, status, exitstatus?, progress?}"),
        Endpoint(
            .get, "/nodes/{node}/tasks/{upid}/log", "Reads lines of a task's log.", access: taskAccess,
            [
                .node, .upid, .integer("start", 0...Int64.max, "First line, counted from 1.").optional(0),
                .integer("limit", 0...Int64.max, "At most so many lines; 0 means all.").optional(50),
                .boolean("download", "The whole log as text.").optional(false),
                .boolean("test-status", "Tell whether the task still runs.").optional(false),
            ],
            result: "[{n, t}], `total`, `success`, with `test-status` also `active`"),
        Endpoint(
            .delete, "/nodes/{node}/tasks/{upid}", "Asks a task to stop.",
            access: .anybody(note: "own ones; others with Sys.Modify on `/system/tasks`"), [.node, .upid]),
    ]

    private static let taskAccess = AccessRule.anybody(
        note: "own tasks and those of own tokens; others with Sys.Audit on `/system/tasks`")
}

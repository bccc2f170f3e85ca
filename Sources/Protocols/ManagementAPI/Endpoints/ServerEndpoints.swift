import BackupFormats
import BackupProtocol

/// The server itself: its description, its settings, its certificate, what was changed.
extension Endpoint {
    static let server: [Endpoint] = [
        Endpoint(
            .get, "/openapi.json", "Describes this API as an OpenAPI 3.1 document, not wrapped in `data`.",
            access: .world, result: "an OpenAPI document"),
        Endpoint(
            .get, "/nodes/{node}/config", "Reads the settings of the server.",
            access: .privilege(anyOf: ["Sys.Audit"], on: "/system"), [.node], result: "{…} and `digest`"),
        Endpoint(
            .put, "/nodes/{node}/config", "Changes the settings of the server.",
            access: .privilege(anyOf: ["Sys.Modify"], on: "/system"),
            [.node] + nodeSettings + [
                .list("delete", of: nodeSettings.map(\.name), "Settings to remove.").optional(), .digest,
            ]),
        Endpoint(
            .get, "/nodes/{node}/subscription", "Says that there are no subscriptions, in the form that tools expect.",
            access: .anybody(note: ""), [.node], result: "{status, message, serverid?, url?}"),
        Endpoint(
            .get, "/nodes/{node}/certificates/info", "Describes the server's certificate.",
            access: .privilege(anyOf: ["Sys.Audit"], on: "/system/certificates"), [.node],
            result: "[{filename, subject, issuer, san, notbefore, notafter, public-key-type, fingerprint, pem}]"),
        Endpoint(
            .post, "/nodes/{node}/certificates/custom",
            "Puts another certificate in place; new connections see it at once.",
            access: .privilege(anyOf: ["Sys.Modify"], on: "/system/certificates"),
            [
                .node, .text("certificates", "The certificate and its chain as PEM."),
                .text("key", "The private key as PEM.").optional(),
                .boolean("force", "Needed to replace the present one.").optional(false),
                .boolean("restart", "Accepted for compatibility; nothing need be restarted.").optional(false),
            ],
            result: "[{filename, subject, issuer, san, notbefore, notafter, public-key-type, fingerprint, pem}]"),
        Endpoint(
            .get, "/nodes/{node}/audit", "Lists changes that were made over this API, newest first.",
            access: .privilege(anyOf: ["Sys.Audit"], on: "/system/log"),
            [
                .node, EndpointParameter.integer("start", 0...Int64(Int32.max), "Leave out so many.").optional(0),
                EndpointParameter.integer("limit", 0...10_000, "At most so many.").optional(50),
                EndpointParameter.text("userfilter", "Part of the user's name.", length: 0...256).optional(),
                EndpointParameter.text("objectfilter", "Part of the path that was acted on.", length: 0...256)
                    .optional(),
                EndpointParameter.integer("since", 0...Int64.max, "Made at this time or later.").optional(),
                EndpointParameter.integer("until", 0...Int64.max, "Made at this time or earlier.").optional(),
            ],
            result: "[{time, user, address, action, object, parameters}] and `total`"),
    ]

    /// Kept as they are sent. Only the first one has an effect here.
    private static let nodeSettings: [EndpointParameter] = {
        let settings: [EndpointParameter] = [
            .integer("task-log-max-days", 0...36_500, "Days for which logs of finished tasks are kept."),
            .text("description", "Notes about this server."),
            .text("http-proxy", "Kept for tools; has no effect.", length: 0...256),
            .text("email-from", "Kept for tools; has no effect.", length: 2...64),
            .text("ciphers-tls-1.2", "Kept for tools; has no effect.", length: 0...1024),
            .text("ciphers-tls-1.3", "Kept for tools; has no effect.", length: 0...1024),
            .text("default-lang", "Kept for tools; has no effect.", length: 2...32),
            .text("consent-text", "Kept for tools; has no effect."),
        ]
        return settings.map { $0.optional() }
    }()
}

/// Endpoints of the original that this server knows by name only: it answers 501 and says so.
extension Endpoint {
    static let unbuilt: [Endpoint] = paths.flatMap { path, methods in
        methods.map { Endpoint($0, path, "Not built.", access: .anybody(note: ""), result: "501", isBuilt: false) }
    }

    private static let paths: [(String, [Method])] = [
        ("/access/vncticket", [.post]),
        ("/access/users/{userid}/unlock-tfa", [.put]),
        ("/access/domains/{realm}/sync", [.post]),
        ("/access/openid/auth-url", [.post]), ("/access/openid/login", [.post]),
        ("/access/tfa", [.get]), ("/access/tfa/{userid}", [.get, .post]),
        ("/access/tfa/{userid}/{id}", [.get, .put, .delete]),
        ("/admin/datastore/{store}/mount", [.post]), ("/admin/datastore/{store}/unmount", [.post]),
        ("/admin/datastore/{store}/s3-refresh", [.put]),
        ("/admin/traffic-control", [.get]), ("/admin/metrics", [.get]), ("/admin/s3/{id}/check", [.put]),
        ("/config/traffic-control", [.get, .post]), ("/config/traffic-control/{name}", [.get, .put, .delete]),
        ("/config/s3", [.get, .post]),
        ("/config/s3/{id}", [.get, .put, .delete]), ("/config/access/tfa/webauthn", [.get, .put]),
        ("/nodes/{node}/status", [.post]),
        ("/nodes/{node}/time", [.get, .put]), ("/nodes/{node}/report", [.get]), ("/nodes/{node}/dns", [.get, .put]),
        ("/nodes/{node}/network", [.get]), ("/nodes/{node}/services", [.get]), ("/nodes/{node}/journal", [.get]),
        ("/nodes/{node}/syslog", [.get]), ("/nodes/{node}/certificates/custom", [.delete]),
        ("/config/access/openid", [.get, .post]), ("/config/access/ldap", [.get, .post]),
        ("/config/access/ad", [.get, .post]), ("/config/notifications/targets", [.get]),
        ("/config/notifications/matchers", [.get, .post]), ("/config/notifications/endpoints/gotify", [.get, .post]),
        ("/config/notifications/endpoints/sendmail", [.get, .post]),
        ("/config/notifications/endpoints/smtp", [.get, .post]),
        ("/config/notifications/endpoints/webhook", [.get, .post]),
        ("/config/metrics/influxdb-udp", [.get, .post]), ("/config/metrics/influxdb-http", [.get, .post]),
    ]
}

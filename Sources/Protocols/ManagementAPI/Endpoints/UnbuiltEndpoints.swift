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
        ("/admin/datastore/{store}/catalog", [.get]), ("/admin/datastore/{store}/pxar-file-download", [.get]),
        ("/admin/datastore/{store}/mount", [.post]), ("/admin/datastore/{store}/unmount", [.post]),
        ("/admin/datastore/{store}/s3-refresh", [.put]),
        ("/admin/traffic-control", [.get]), ("/admin/metrics", [.get]), ("/admin/s3/{id}/check", [.put]),
        ("/config/traffic-control", [.get, .post]), ("/config/traffic-control/{name}", [.get, .put, .delete]),
        ("/config/notifications", [.get]), ("/config/metrics", [.get]), ("/config/s3", [.get, .post]),
        ("/config/s3/{id}", [.get, .put, .delete]), ("/config/access/tfa/webauthn", [.get, .put]),
        ("/nodes/{node}/status", [.post]), ("/nodes/{node}/config", [.get, .put]),
        ("/nodes/{node}/subscription", [.get]), ("/nodes/{node}/certificates/info", [.get]),
        ("/nodes/{node}/time", [.get, .put]), ("/nodes/{node}/report", [.get]),
    ]
}

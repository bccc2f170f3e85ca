import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI

/// The server itself: its description, its settings, its certificate, what was changed.
extension Routes {
    static let server: [String: EndpointAction] = [
        "GET /openapi.json": { call in
            let document = OpenAPIDocument.make(version: call.services.node.version)
            return .whole(
                RESTResponse(
                    status: 200, headers: [("content-type", BackupResponse.jsonType)],
                    body: .bytes(Array(document.compactText.utf8))))
        },
        "GET /nodes/{node}/config": { call in
            let (settings, digest) = try await call.blocking { [settings = call.services.settings] in
                try settings.read()
            }
            return .data(.object(settings), beside: ["digest": .string(digest)])
        },
        "PUT /nodes/{node}/config": { call in
            var new: JSONObject = [:]
            for name in call.values.names where !["node", "delete", "digest"].contains(name) {
                new[name] = call.number(name).map { .integer($0) } ?? call.text(name).map { .string($0) }
            }
            let (removed, digest, grant) = (
                call.values.strings("delete"), call.text("digest"), try call.requiredGrant
            )
            try await call.blocking { [new, settings = call.services.settings] in
                try settings.change(new, removed: removed, digest: digest, by: grant)
            }
            return .none
        },
        "GET /nodes/{node}/subscription": { _ in
            .data([
                "status": "notfound", "message": "Cairn is free software: there is nothing to subscribe to",
                "url": "",
            ])
        },
        "GET /nodes/{node}/certificates/info": { call in
            let certificate = try certificate(call)
            return .data([.object(try await call.blocking { try certificate.describe() })])
        },
        "POST /nodes/{node}/certificates/custom": { call in
            let certificate = try certificate(call)
            guard call.flag("force") else {
                throw BackupFailure(.invalidInput, "There is a certificate already; force=1 replaces it")
            }
            let (chain, key) = (try call.values.string("certificates"), call.text("key"))
            return .data([
                .object(
                    try await call.blocking {
                        try certificate.replace(certificates: chain, key: key)
                        return try certificate.describe()
                    })
            ])
        },
        "GET /nodes/{node}/audit": { call in
            var filter = AuditFilter()
            filter.start = Int(call.number("start") ?? 0)
            filter.limit = Int(call.number("limit") ?? 50)
            filter.user = call.text("userfilter")
            filter.object = call.text("objectfilter")
            filter.since = call.number("since")
            filter.until = call.number("until")
            let page = try await call.blocking { [filter, log = call.services.access.audit] in
                try log.records(filter)
            }
            return .data(.array(page.records.map(\.json)), beside: ["total": .integer(page.count)])
        },
    ]

    private static func certificate(_ call: Call) throws -> any NodeCertificate {
        guard let certificate = call.services.node.certificate else {
            throw BackupFailure(.unsupported, "This server has no certificate of its own")
        }
        return certificate
    }
}

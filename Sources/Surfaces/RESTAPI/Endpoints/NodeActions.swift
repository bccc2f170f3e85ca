import BackupFormats

extension Routes {
    static let nodes: [String: EndpointAction] = [
        "GET /nodes": { call in .data([["node": .string(call.services.node.name)]]) },
        "GET /nodes/{node}/status": { call in
            let fingerprint = call.services.node.fingerprint()
            return .data(
                try await call.blocking {
                    var object = MachineStatus.read()
                    object["info"] = ["fingerprint": .string(fingerprint)]
                    return .object(object)
                })
        },
    ]
}

import BackupFormats
import Crypto

extension Routes {
    static let basics: [String: EndpointAction] = [
        "GET /ping": { _ in .data(["pong": true]) },
        "GET /version": { call in
            .data([
                "version": "4.1", "release": "1", "repoid": .string(repositoryID(of: call.services.node.version)),
                "cairn": .string(call.services.node.version),
            ])
        },
    ]

    /// Clients show it as the commit of the server: ours is made from the version.
    private static func repositoryID(of version: String) -> String {
        Hex.encode(Array(SHA256.hash(data: Array("cairn \(version)".utf8)).prefix(20)))
    }
}

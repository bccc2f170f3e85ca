package import BackupFormats
package import Logging
package import XenAPI

/// Connects to pools over the network.
package struct NetworkHosts: XenHostConnecting {
    private let logger: Logger

    package init(logger: Logger) { self.logger = logger }

    package func connect(_ xapi: JSONObject) async throws -> any XenHost {
        try await XenConnection.open(try XenTarget(xapi), logger: logger)
    }
}

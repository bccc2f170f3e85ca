import ArgumentParser
import BackupHTTP2
import Listener
import Logging
import PeerSync
import Platform
import RESTAPI

/// `cairn serve`: the server.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the server.",
        discussion: """
            Prints one line when it is ready: listening on https://ADDRESS:PORT fingerprint AA:BB:….
            SIGHUP reads the certificate anew; SIGTERM and SIGINT let running sessions finish for a bounded time.
            """)

    @Option(help: "The folder that holds users, rights, keys and tasks; made (mode 0700) if missing.")
    var state: String

    @Option(help: "Where to listen, as ADDRESS:PORT; port 0 picks a free one. Default: all addresses, port 8007.")
    var listen: String?

    @Option(help: "PEM file with the certificate and its chain. Default: proxy.pem in the state folder.")
    var certificate: String?

    @Option(help: "PEM file with the certificate's key. Default: proxy.key in the state folder.")
    var certificateKey: String?

    @Option(help: "A folder below which the API may make datastores; may be given several times.")
    var datastoreRoot: [String] = []

    @Option(help: "Seconds of silence after which a session is discarded.")
    var idleTimeout = 900

    @Option(help: "Seconds that running sessions have to finish when the server stops.")
    var stopTimeout = 30

    @Option(help: "MiB of memory for request bodies under way, all sessions together.")
    var memoryBudget = 128

    @Option(help: "MiB that must be free on a datastore for a new session. Default: 1024, or 1 % if that is less.")
    var minimumFreeSpace: Int?

    @Option(help: "MiB of memory for the marks of a garbage collection; more of them go to the disk.")
    var collectionMemory = 1024

    @Option(
        help: "Least severe messages that are logged: trace, debug, info, notice, warning, error, critical.",
        transform: { text in
            guard let level = Logger.Level(rawValue: text) else { throw ValidationError("'\(text)' is no log level") }
            return level
        })
    var logLevel = Logger.Level.info

    @Option(help: "File with the token that Prometheus sends to read /metrics. Default: there is no such page.")
    var metricsTokenFile: String?

    @Option(help: "Days after which Xen Orchestra gets another token by itself. Default: it keeps the one that it has.")
    var xoTokenDays: Int?

    @Flag(help: "Whether Xen Orchestra may keep backups in folders of this machine (file:// remotes).")
    var xoAllowFileRemotes = false

    @Option(help: "The name of this instance among its peers. Default: the host name.")
    var instance: String?

    @Option(
        help: ArgumentHelp(
            "A second place to listen, as ADDRESS:PORT, without TLS and for sessions of peers only, which have an "
                + "encryption of their own.",
            valueName: "address:port"))
    var peerListen: String?

    /// Pieces of file work that may wait for a worker.
    static let waitingWork = 4096

    func validate() throws {
        guard idleTimeout > 0, stopTimeout >= 0, memoryBudget >= 16, (minimumFreeSpace ?? 0) >= 0,
            collectionMemory >= 0, (xoTokenDays ?? 1) > 0
        else {
            throw ValidationError("times and sizes must be positive; --memory-budget is at least 16")
        }
        guard (certificate == nil) == (certificateKey == nil) else {
            throw ValidationError("--certificate and --certificate-key go together")
        }
        if let instance, PeerDirectory.instanceID(of: instance) != instance {
            throw ValidationError(
                "--instance takes letters, digits, '-', '.' and '_', at most \(PeerDirectory.maxInstanceBytes)")
        }
        _ = try listenerConfiguration()
        _ = try peerListenerConfiguration()
    }

    /// How the listener is to be set up.
    func listenerConfiguration() throws -> ListenerConfiguration {
        let shown: ListenerConfiguration.Certificate =
            if let certificate, let certificateKey {
                .files(certificate: certificate, key: certificateKey)
            } else {
                .selfSigned(folder: state, names: [ProcessInformation.hostName])
            }
        var configuration = ListenerConfiguration(certificate: shown)
        setTimes(in: &configuration)
        if let listen { try set(listen, in: &configuration) }
        configuration.bodyBudgetBytes = memoryBudget << 20
        return configuration
    }

    /// How the listener for peers is to be set up; nil where there is none.
    func peerListenerConfiguration() throws -> ListenerConfiguration? {
        guard let peerListen else { return nil }
        var configuration = ListenerConfiguration(certificate: .plain)
        setTimes(in: &configuration)
        try set(peerListen, in: &configuration)
        return configuration
    }

    private func setTimes(in configuration: inout ListenerConfiguration) {
        configuration.timers.idle = .seconds(idleTimeout)
        configuration.stopGrace = .seconds(stopTimeout)
    }

    private func set(_ place: String, in configuration: inout ListenerConfiguration) throws {
        guard let address = ListenAddress(parsing: place) else {
            throw ValidationError("'\(place)' is not ADDRESS:PORT; examples: 127.0.0.1:8007, [::1]:0")
        }
        configuration.address = address.host
        configuration.port = address.port
    }

    /// The page for Prometheus, where a token was given.
    func metricsPage() throws -> MetricsPage? {
        guard let metricsTokenFile else { return nil }
        do {
            let bytes = try FileSystem.read(metricsTokenFile, limit: Self.tokenFileLimit)
            return try MetricsPage(token: String(decoding: bytes, as: UTF8.self))
        } catch let error as SystemError {
            throw error.failure("The token file \(metricsTokenFile) cannot be read")
        }
    }

    private static let tokenFileLimit = 4096

    func run() async throws {
        OpenFileLimit.raise()
        try await ServerAssembly(self).run()
    }
}

/// `ADDRESS:PORT`, IPv6 addresses in brackets.
struct ListenAddress: Equatable {
    let host: String
    let port: Int

    init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        self.host = String(host)
        self.port = Int(port)
    }
}

import AccessControl

/// The methods that are known, by their paths. (Spec: backrest-sync §2.1.)
enum PeerCall: String, CaseIterable {
    case sync = "/v1sync.BackrestSyncService/Sync"
    case states = "/v1sync.BackrestSyncStateService/GetPeerSyncStatesStream"
    case setRemoteConfig = "/v1sync.BackrestSyncStateService/SetRemoteClientConfig"
    case login = "/v1.Authentication/Login"
    case makeToken = "/v1.Backrest/GeneratePairingToken"
    case config = "/v1.Backrest/GetConfig"
    case operations = "/v1.Backrest/GetOperations"
    case log = "/v1.Backrest/GetLogs"
    case setConfig = "/v1.Backrest/SetConfig"
    case clearHistory = "/v1.Backrest/ClearHistory"
    case backup = "/v1.Backrest/Backup"

    /// Whole settings of a member may come.
    private static let configBytes = 32 << 20
    private static let requestBytes = 1 << 20
    /// Of those who show nothing that could be a login.
    private static let strangerBytes = 64 << 10

    /// Whether its answer is a stream of messages.
    var isStreamed: Bool { self == .states || self == .log }

    /// What a caller needs on `/system`; nil for what anybody may try.
    var privilege: Privileges? {
        switch self {
        case .sync, .login: nil
        case .states, .config, .operations, .log: .sysAudit
        case .setRemoteConfig, .makeToken, .setConfig, .clearHistory, .backup: .sysModify
        }
    }

    func bodyLimit(of headers: [(name: String, value: String)]) -> Int {
        guard headers.contains(where: { $0.name == "authorization" || $0.name == "cookie" }) else {
            return Self.strangerBytes
        }
        return self == .setRemoteConfig ? Self.configBytes : Self.requestBytes
    }
}

/// Where a request goes.
enum PeerPath: Equatable {
    case call(PeerCall)
    /// A method that a service of ours does not have.
    case unknownMethod
    case elsewhere

    private static let services = [
        "/v1sync.BackrestSyncService/", "/v1sync.BackrestSyncStateService/", "/v1.Backrest/", "/v1.Authentication/",
    ]

    /// - Parameter target: Path and query.
    init(_ target: String) {
        let path = String(target.prefix { $0 != "?" })
        if let call = PeerCall(rawValue: path) {
            self = .call(call)
        } else {
            self = Self.services.contains(where: path.hasPrefix) ? .unknownMethod : .elsewhere
        }
    }
}

package import AccessControl
package import BackupFormats
package import Logging
package import ManagementAPI
package import PeerSync
package import Platform

/// Peer sync as Backrest speaks it: the stream of members, the service that tells how it stands with peers, and the calls
/// of an instance's own that pairing needs. It stands in front of whatever answers all other paths.
/// (Spec: backrest-sync §2.1, §3.)
package struct PeerSyncEndpoint: RESTHandler {
    private let next: (any RESTHandler)?
    private let sync: SyncSurface
    private let calls: CallSurface?

    /// - Parameters:
    ///   - next: Answers all other paths.
    ///   - gate: Shared by all listeners.
    ///   - workers: Write the audit log.
    ///   - patience: How long a member may take nothing of what waits for it.
    package init(
        before next: any RESTHandler, hub: any PeerHub, administration: any PeerAdministration,
        access: AccessControl, gate: StrangerGate, workers: WorkerPool, delays: CallDelays = CallDelays(),
        patience: Duration = PeerLimits.sendPatience, time: TimeSource, log: Logger
    ) {
        self.next = next
        sync = SyncSurface(hub: hub, gate: gate, patience: patience, log: log)
        calls = CallSurface(
            administration: administration, login: CallerLogin(access: access), workers: workers, delays: delays,
            time: time, log: log)
    }

    /// The stream of members alone, for a listener without TLS: whatever needs a login is not there.
    package init(hub: any PeerHub, gate: StrangerGate, log: Logger) {
        next = nil
        sync = SyncSurface(hub: hub, gate: gate, patience: PeerLimits.sendPatience, log: log)
        calls = nil
    }

    package func identify(_ request: RESTRequest) async -> AuthID? { await next?.identify(request) }

    package func takesStream(method: String, target: String) -> Bool {
        switch PeerPath(target) {
        case .call(.sync): method == "POST"
        case .call, .unknownMethod: false
        case .elsewhere: next?.takesStream(method: method, target: target) ?? false
        }
    }

    package func bodyLimit(method: String, target: String) -> Int {
        bodyLimit(method: method, target: target, headers: [])
    }

    package func bodyLimit(method: String, target: String, headers: [(name: String, value: String)]) -> Int {
        switch PeerPath(target) {
        case .call(let call): call.bodyLimit(of: headers)
        case .unknownMethod: 0
        case .elsewhere: next?.bodyLimit(method: method, target: target, headers: headers) ?? 0
        }
    }

    package func handle(_ request: RESTRequest) async -> RESTAnswer {
        switch PeerPath(request.target) {
        case .call(.sync):
            guard request.method == "POST" || !request.isHTTP2 else { return .response(ConnectAnswer.notAllowed) }
            return .response(sync.answer(request))
        case .call(let call):
            guard let calls else { return .response(ConnectAnswer.unknownMethod) }
            guard request.method == "POST" else { return .response(ConnectAnswer.notAllowed) }
            return .response(await calls.answer(call, request))
        case .unknownMethod: return .response(ConnectAnswer.unknownMethod)
        case .elsewhere: return await next?.handle(request) ?? .response(ConnectAnswer.unknownMethod)
        }
    }
}

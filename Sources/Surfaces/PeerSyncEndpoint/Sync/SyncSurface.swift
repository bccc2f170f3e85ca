import AccessControl
import BackupFormats
import Logging
import ManagementAPI
import PeerSync
import PeerSyncProtocol

/// `Sync`: judges the head of the request and gives the stream to the hub. Who it is shows inside.
/// (Spec: backrest-sync §3.1-3.3.)
struct SyncSurface: Sendable {
    let hub: any PeerHub
    let gate: StrangerGate
    let patience: Duration
    let log: Logger

    func answer(_ request: RESTRequest) -> RESTResponse {
        guard request.isHTTP2 else {
            return ConnectAnswer.text(
                505, "Peer sync needs HTTP/2 all the way. Does a proxy in between speak HTTP/1.1?",
                [("connection", "close")])
        }
        do {
            guard let head = try StreamHead(request) else { return ConnectAnswer.unknownStreamType }
            guard let body = request.stream else {
                throw PeerSyncFailure(.internalFault, "the request came without a stream")
            }
            let place = try gate.enter(PeerNetwork.of(request.peer), at: request.arrival)
            return ConnectAnswer.stream(open(request, body, head, place))
        } catch let failure as PeerSyncFailure {
            log.notice("peer refused", metadata: ["peer": "\(request.peer)", "reason": "\(failure)"])
            return ConnectAnswer.streamEnd(StreamEnd(failure))
        } catch {
            return ConnectAnswer.streamEnd(StreamEnd(code: .internal, message: "the session cannot begin"))
        }
    }

    private func open(
        _ request: RESTRequest, _ body: any ByteSource, _ head: StreamHead, _ place: StrangerGate.Place
    ) -> any ByteSource {
        let stream = ConnectServerStream(
            peerAddress: PeerNetwork.address(of: request.peer), request: body, encoding: head.encoding,
            patience: patience, onTrust: { place.trust() })
        let timer = head.timeout.map { timeout in
            Task {
                try await Task.sleep(for: timeout)
                stream.end(StreamEnd(code: .deadlineExceeded, message: "the time that the client has set is over"))
            }
        }
        Task { [hub] in
            stream.end(await hub.serve(stream))
            timer?.cancel()
        }
        // The place is held until the answer is gone: a session that ended and whose end nobody takes still costs.
        return stream.makeAnswer {
            place.leave()
            timer?.cancel()
        }
    }
}

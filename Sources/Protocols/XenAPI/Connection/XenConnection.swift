import AsyncHTTPClient
package import BackupFormats
package import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// A connection to a pool over the network: JSON-RPC calls, and the HTTP handlers for disks and machines. (Spec:
/// xo-proxy §6.)
///
/// May be used by many at once. ``close()`` is called once, at the end.
package final class XenConnection: XenHost {
    let limits: XenLimits
    let logger: Logger
    let clients: XenClients
    let session: XenSession
    private let gate: CallGate
    private let transport: CallTransport
    let watcher: XenTaskWatcher

    private init(
        _ clients: XenClients, _ session: XenSession, _ transport: CallTransport, _ limits: XenLimits, _ logger: Logger
    ) {
        self.clients = clients
        self.session = session
        self.transport = transport
        self.limits = limits
        self.logger = logger
        gate = CallGate(width: limits.concurrentCalls)
        watcher = XenTaskWatcher(limits: limits)
    }

    /// Connects, logs in, and learns the members of the pool and its network for backups.
    ///
    /// - Throws: ``BackupFailure`` of kind `notAuthenticated` for wrong credentials, `unavailable` where no host answers.
    package static func open(
        _ target: XenTarget, limits: XenLimits = XenLimits(), logger: Logger
    ) async throws -> XenConnection {
        let clients = XenClients(target, limits)
        let transport = CallTransport(clients, limits)
        let session = XenSession(target) { method, parameters, address in
            try await transport.send(method, parameters, to: address, isReadOnly: false)
        }
        let connection = XenConnection(clients, session, transport, limits, logger)
        do {
            _ = try await withTaskCancellationHandler {
                try await session.current()
            } onCancel: {
                Task { await session.abortLogIn() }
            }
            let network = try await PoolNetwork.learn(from: connection)
            await session.know(members: network.members)
            guard !network.backupAddresses.isEmpty else { return connection }
            let state = try await session.current()
            clients.redirectTransfers(network.overrides(master: state.address.host))
            return connection
        } catch {
            await connection.close()
            throw (error as? CallTransport.Fault)?.failure ?? error
        }
    }

    package func call(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue {
        try Task.checkCancellation()
        try await gate.enter()
        defer { gate.leave() }
        if Self.isReadOnly(method) { return try await attempts(method, parameters, isReadOnly: true) }
        return try await uncancelled { try await self.attempts(method, parameters, isReadOnly: false) }
    }

    /// The question for events, which the host holds back for a minute and which therefore takes no place of a call.
    func events(_ parameters: [JSONValue]) async throws -> JSONValue {
        try await attempts("event.from", parameters, isReadOnly: true)
    }

    package func close() async {
        _ = try? await uncancelled {
            await self.watcher.close()
            if let state = await self.session.close() {
                _ = try? await self.transport.send(
                    "session.logout", [.string(state.reference)], to: state.address, isReadOnly: false)
            }
            await self.clients.shutDown()
        }
    }

    /// Whether a call may be repeated without harm.
    static func isReadOnly(_ method: String) -> Bool {
        guard let name = method.split(separator: ".").last, !method.hasPrefix("Async.") else { return false }
        return name.hasPrefix("get_") || method == "event.from" || method == "system.listMethods"
    }

    private func attempts(_ method: String, _ parameters: [JSONValue], isReadOnly: Bool) async throws -> JSONValue {
        var hasRenewed = false
        var moves = 0
        var busy = 0
        var resets = 0
        while true {
            var used: XenSession.State?
            do {
                let state = try await session.current()
                used = state
                return try await transport.send(
                    method, [.string(state.reference)] + parameters, to: state.address, isReadOnly: isReadOnly)
            } catch let failure as XenFailure {
                switch failure.code {
                case "SESSION_INVALID" where !hasRenewed:
                    hasRenewed = true
                    if let used { await session.forget(used) }
                case "HOST_IS_SLAVE" where moves < limits.resets:
                    moves += 1
                    guard let used, let master = failure.parameters.first else { throw failure }
                    await session.move(from: used, to: master)
                case "TOO_MANY_PENDING_TASKS" where busy < limits.busyTries:
                    busy += 1
                    try await Task.sleep(for: limits.busyPause)
                default: throw failure.redacted()
                }
            } catch let fault as CallTransport.Fault {
                // A host that is away for a moment (its master moves, or its toolstack restarts) is waited for.
                guard fault.mayRepeat || isReadOnly, !fault.isFinal, resets < limits.resets else { throw fault.failure }
                resets += 1
                logger.debug("repeating \(method): \(fault.failure)")
                if let used, fault.mayRepeat { await session.forget(used) }
                try await Task.sleep(for: limits.resetPause)
            }
        }
    }
}

/// Sends single calls over HTTP.
struct CallTransport: Sendable {
    /// A call without an answer.
    struct Fault: Error {
        let failure: BackupFailure
        /// Whether the host cannot have seen the call.
        let mayRepeat: Bool
        /// Whether another try would end in the same way.
        let isFinal: Bool
    }

    private let clients: XenClients
    private let limits: XenLimits

    init(_ clients: XenClients, _ limits: XenLimits) {
        self.clients = clients
        self.limits = limits
    }

    /// - Throws: ``XenFailure``, ``BackupFailure`` for an answer that is none, ``Fault`` where there is none.
    func send(
        _ method: String, _ parameters: [JSONValue], to address: XenAddress, isReadOnly: Bool
    ) async throws -> JSONValue {
        var request = HTTPClientRequest(url: "\(address.url)/jsonrpc")
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "accept", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: XenMessage.request(method, parameters, id: 0)))
        let client = isReadOnly ? clients.shared : clients.single
        let response: HTTPClientResponse
        let body: ByteBuffer
        do {
            response = try await client.execute(request, deadline: .now() + TimeAmount(limits.call))
            body = try await response.body.collect(upTo: XenLimits.maxAnswerBytes)
        } catch is NIOTooManyBytesError {
            throw BackupFailure(.unsupported, "The answer of \(address.display) to \(method) is too long")
        } catch {
            if Task.isCancelled { throw CancellationError() }
            let isFinal = (error as? HTTPClientError) == .deadlineExceeded || XenTransportFault.isTLS(error)
            throw Fault(
                failure: XenTransportFault.failure(error, address.display),
                mayRepeat: XenTransportFault.isUnsent(error),
                isFinal: isFinal)
        }
        let type = response.headers.first(name: "content-type") ?? ""
        guard type.lowercased().hasPrefix("application/json") else {
            throw BackupFailure(
                .unsupported,
                "The host \(address.display) answers \(method) with status \(response.status.code) and no JSON-RPC; "
                    + "hosts older than XenServer 7.0 are not supported")
        }
        do {
            return try XenMessage.result(Array(body.readableBytesView))
        } catch let error as FormatError {
            throw BackupFailure(
                .corruptData, "The answer of \(address.display) to \(method) cannot be read", cause: error)
        }
    }
}

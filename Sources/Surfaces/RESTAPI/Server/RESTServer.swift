import AccessControl
package import BackupFormats
import BackupProtocol
import BackupServer
import Logging
package import ManagementAPI
import PeerSync
import Platform

/// Answers the REST API: finds the endpoint, asks who calls and whether they may, checks parameters, and wraps what
/// the endpoint gives. (Spec: rest F.)
package struct RESTServer: RESTHandler {
    /// Bodies that are parameters.
    package static let parameterBodyLimit = SessionLimits.parameterBodyBytes

    private let services: RESTServices
    private let delays: RefusalDelays
    private let routes: RouteTable
    private let metrics: MetricsPage?

    /// - Parameter metrics: Nil where there is no such page.
    package init(
        services: RESTServices, delays: RefusalDelays = RefusalDelays(), metrics: MetricsPage? = nil
    ) {
        self.services = services
        self.delays = delays
        self.metrics = metrics
        routes = RouteTable(Routes.all)
    }

    package func bodyLimit(method: String, target: String) -> Int {
        guard case .api(_, let components) = RequestTarget(target).place,
            case .route(let route, _) = routes.match(method, components), case .raw(let limit) = route.endpoint.body
        else { return Self.parameterBodyLimit }
        return limit
    }

    package func identify(_ request: RESTRequest) async -> AuthID? {
        let caller = try? await services.access.authenticate(
            method: request.method, headers: request.headers, peer: request.peer)
        return caller?.authID
    }

    package func handle(_ request: RESTRequest) async -> RESTAnswer {
        let target = RequestTarget(request.target)
        guard !target.isTooLong else { return .response(RESTResponse(status: FailureStatus.targetTooLong)) }
        switch target.place {
        case .illegal:
            return plain(Refusal(FailureStatus.illegalPath, "A part of the path begins with a dot"))
        case .outside where request.method == "GET" && target.normalPath == MetricsPage.path && metrics != nil:
            return await answerMetrics(request)
        case .outside where request.method == "GET":
            return plain(Refusal(FailureStatus.unknownPath, "There is no page '\(target.normalPath)'"))
        case .outside:
            return plain(Refusal(FailureStatus.illegalPath, "Only GET is possible at '\(target.normalPath)'"))
        case .incomplete:
            return plain(Refusal(FailureStatus.unknownPath, "'/api2' is not a complete path"))
        case .unknownFormat(let name):
            return plain(Refusal(FailureStatus.illegalPath, "There is no answer format '\(name)'"))
        case .api(let format, let components):
            return await answer(request, target, format, components)
        }
    }

    private func answerMetrics(_ request: RESTRequest) async -> RESTAnswer {
        guard let metrics, metrics.opens(to: request) else {
            let refusal = Refusal(401, "authentication failed - the token for metrics is missing or wrong")
            await delay(refusal, since: request.arrival)
            return plain(refusal)
        }
        do {
            let services = services
            let peers = try await services.peers?.peers() ?? []
            let results = try await services.peers?.lastResults() ?? []
            let text = try await services.workers.run {
                try metrics.text(services, peers: peers, results: results)
            }
            return .response(
                RESTResponse(
                    status: 200, headers: [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
                    body: .bytes(Array(text.utf8))))
        } catch {
            return plain(Refusal(error, during: "GET \(MetricsPage.path)"))
        }
    }

    private func plain(_ refusal: Refusal) -> RESTAnswer { .response(AnswerFormat.plain(refusal)) }

    private func answer(
        _ request: RESTRequest, _ target: RequestTarget, _ format: AnswerFormat, _ components: [String]
    ) async -> RESTAnswer {
        let match = routes.match(request.method, components)
        var caller: Identity?
        if !match.isForEverybody {
            do {
                caller = try await services.access.authenticate(
                    method: request.method, headers: request.headers, peer: request.peer)
            } catch {
                let refusal = Refusal(error, during: "Authentication")
                await delay(refusal, since: request.arrival)
                log(request, target, nil, refusal.status)
                return plain(refusal)
            }
        }
        let result: RESTAnswer
        var status = 200
        do {
            result = try await perform(request, target, format, match, caller)
        } catch {
            let refusal = Refusal(error, during: "\(request.method) \(target.normalPath)")
            await delay(refusal, since: request.arrival)
            status = refusal.status
            result = .response(format.failure(refusal))
            if status >= 500, status != FailureStatus.notBuilt {
                services.logger.error(
                    "request failed",
                    metadata: ["request": "\(request.method) \(target.normalPath)", "error": "\(error)"])
            }
        }
        log(request, target, caller, status)
        return AnswerCompression.apply(to: result, of: request)
    }

    private func perform(
        _ request: RESTRequest, _ target: RequestTarget, _ format: AnswerFormat, _ match: RouteTable.Match,
        _ caller: Identity?
    ) async throws -> RESTAnswer {
        switch match {
        case .nothing:
            throw Refusal(FailureStatus.unknownPath, "Path '\(target.normalPath)' not found.")
        case .directory(let names):
            return .response(format.success(.array(names.map { ["subdir": .string($0)] })))
        case .route(let route, let pathValues):
            let call = try await check(request, target, route.endpoint, pathValues, caller)
            let result = try await route.action(call)
            await audit(call, result)
            switch result {
            case .data(let data, let beside, let headers):
                return .response(format.success(data, beside: beside, headers: headers))
            case .whole(let response): return .response(response)
            case .session(let answer): return answer
            }
        }
    }

    /// Writes down a change that was made. (Reading and sessions, which have tasks, are none; neither are logins.)
    private func audit(_ call: Call, _ result: EndpointResult) async {
        if case .session = result { return }
        guard call.endpoint.method != .get, let caller = call.caller else { return }
        let record = AuditRecord(
            time: services.time.seconds, user: "\(caller.authID)", address: call.request.peer,
            action: call.endpoint.method.rawValue, object: RequestTarget(call.request.target).normalPath,
            details: AuditDetails.of(call))
        do {
            try await call.blocking { [log = services.access.audit] in try log.record(record) }
        } catch {
            services.logger.error(
                "a change is not in the audit log",
                metadata: [
                    "change": "\(record.action) \(record.object)", "user": "\(record.user)", "error": "\(error)",
                ])
        }
    }

    /// The checks before an endpoint acts, in the order of the original: rule on fixed paths, body, parameters, rule on
    /// the namespace.
    private func check(
        _ request: RESTRequest, _ target: RequestTarget, _ endpoint: Endpoint,
        _ pathValues: [(name: String, value: String)], _ caller: Identity?
    ) async throws -> Call {
        let grant: Grant?
        do {
            grant = try AccessCheck.grant(endpoint.access, pathValues, caller, services.access)
        } catch {
            try? await Task.sleep(until: request.arrival.advanced(by: delays.unauthorized), clock: .continuous)
            throw error
        }
        guard endpoint.isBuilt else {
            throw BackupFailure(.unsupported, "\(endpoint.name) is known, but this server has not learned it yet")
        }
        let values = try parameters(request, target, endpoint, pathValues)
        return Call(
            request: request, endpoint: endpoint, values: values, services: services, caller: caller, grant: grant,
            content: try AccessCheck.contentGrant(endpoint.access, values, caller, services.access))
    }

    private func parameters(
        _ request: RESTRequest, _ target: RequestTarget, _ endpoint: Endpoint,
        _ pathValues: [(name: String, value: String)]
    ) throws -> ParameterValues {
        let limit: Int
        let source: ParameterSource
        switch endpoint.body {
        case .raw(let bytes):
            limit = bytes
            source = ParameterSource(query: target.query)
        case .parameters:
            limit = Self.parameterBodyLimit
            guard request.body.count <= limit else { throw Self.tooLarge(limit) }
            source = try ParameterSource(
                query: target.query, contentType: request.header("content-type"), body: request.body,
                anyTypeIfEmpty: true)
        }
        guard request.body.count <= limit else { throw Self.tooLarge(limit) }
        return try endpoint.schema.values(of: source, path: pathValues)
    }

    private static func tooLarge(_ limit: Int) -> BackupFailure {
        BackupFailure(.invalidInput, "Request body too large: at most \(limit) bytes are taken")
    }

    private func delay(_ refusal: Refusal, since arrival: ContinuousClock.Instant) async {
        guard refusal.status == 401 else { return }
        // A cancelled request needs no delay: nobody waits for its answer.
        try? await Task.sleep(until: arrival.advanced(by: delays.unauthenticated), clock: .continuous)
    }

    /// One line a request. Queries are left out: logins may have a password there. (Spec: rest F.7.)
    private func log(_ request: RESTRequest, _ target: RequestTarget, _ caller: Identity?, _ status: Int) {
        services.sessions.traffic.answered(status: status)
        let agent = (request.header("user-agent") ?? "-").prefix(128)
        services.logger.info(
            "\(request.peer) \(caller.map { "\($0.authID)" } ?? "-") \"\(request.method) \(target.normalPath)\" \(status) \"\(agent)\""
        )
    }
}

extension RouteTable.Match {
    fileprivate var isForEverybody: Bool {
        if case .route(let route, _) = self { route.endpoint.access == .world } else { false }
    }
}

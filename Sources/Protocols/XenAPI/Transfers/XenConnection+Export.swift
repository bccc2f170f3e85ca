import AsyncHTTPClient
import BackupFormats
import NIOCore
import NIOHTTP1

extension XenConnection {
    package func exportMachine(_ ref: String, compression: String?) async throws -> any XenTransfer {
        let value =
            switch compression {
            case nil, "": "false"
            case "native": "true"
            default: compression ?? "false"
            }
        return try await download(
            HandlerRequest(path: "/export/", query: [("ref", ref), ("use_compression", value)], label: "VM export"))
    }

    package func exportDisk(_ ref: String, base: String?) async throws -> any XenTransfer {
        let query = [("vdi", ref), ("format", "vhd")] + (base.map { [("base", $0)] } ?? [])
        return try await download(HandlerRequest(path: "/export_raw_vdi/", query: query, label: "VDI export"))
    }

    package func exportPoolDatabase() async throws -> any XenTransfer {
        try await download(HandlerRequest(path: "/pool/xmldbdump", query: [], label: "Export pool metadata"))
    }

    private func download(_ request: HandlerRequest) async throws -> XenDownload {
        let task = try await createTask(request.label, request.path)
        do {
            try Task.checkCancellation()
        } catch {
            await destroyTask(task)
            throw error
        }
        do {
            let response = try await get(request, task)
            return XenDownload(response, request.label, task: task, self)
        } catch {
            // A failure means that nothing works on the task; a cancellation may come while the host prepares the export.
            if error is CancellationError { await abandonTask(task) }
            await destroyTask(task)
            throw error
        }
    }

    /// The answer of the host that has the data, with its body still to come.
    private func get(_ request: HandlerRequest, _ task: String) async throws -> HTTPClientResponse {
        var state = try await session.current()
        var url = HandlerURL(request, state).with(task: task)
        var hasRenewed = false
        for _ in 0...XenLimits.redirections {
            let response = try await ask(.GET, url, within: limits.firstByte)
            if let location = response.redirection {
                url = try url.redirected(to: location).with(task: task)
                continue
            }
            if response.status == .unauthorized, !hasRenewed {
                hasRenewed = true
                state = try await renew(state)
                url = HandlerURL(request, state).with(task: task)
                continue
            }
            guard response.status == .ok else { throw await refusal(response, request.label, url, task) }
            return response
        }
        throw BackupFailure(.unavailable, "\(request.label): the hosts of the pool redirect in a circle")
    }

    /// A new session in place of one that a handler did not know.
    func renew(_ state: XenSession.State) async throws -> XenSession.State {
        await session.forget(state)
        return try await session.current()
    }

    /// A request without a body.
    func ask(_ method: HTTPMethod, _ url: HandlerURL, within limit: Duration) async throws -> HTTPClientResponse {
        do {
            return try await send(method, url, body: nil, within: limit)
        } catch {
            if error is CancellationError || error is BackupFailure { throw error }
            throw XenTransportFault.failure(error, url.display)
        }
    }

    func send(
        _ method: HTTPMethod, _ url: HandlerURL, body: HTTPClientRequest.Body?, within limit: Duration?
    ) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: url.text)
        request.method = method
        request.body = body
        if method == .PUT, body == nil { request.headers.add(name: "content-length", value: "0") }
        let sent = request
        let client = clients.transfers
        let answer = Task { try await client.execute(sent, deadline: .distantFuture) }
        let timer = limit.map { limit in
            Task {
                try await Task.sleep(for: limit)
                answer.cancel()
            }
        }
        defer { timer?.cancel() }
        do {
            return try await withTaskCancellationHandler {
                try await answer.value
            } onCancel: {
                answer.cancel()
            }
        } catch {
            try Task.checkCancellation()
            if let limit, answer.isCancelled {
                throw BackupFailure(.unavailable, "The host \(url.display) did not answer for \(limit)")
            }
            throw error
        }
    }

    /// Why a handler did not answer 200: the reason that the host's task has, else the status.
    func refusal(
        _ response: HTTPClientResponse, _ label: String, _ url: HandlerURL, _ task: String
    ) async -> any Error {
        if case .failure(let failure)? = await end(of: task, within: limits.reason) { return failure }
        return BackupFailure(
            .unavailable, "\(label): the host \(url.display) answered with status \(response.status.code)")
    }

    /// Has a task of ours ended, one way or another, before it is destroyed.
    func abandonTask(_ task: String) async {
        _ = try? await uncancelled {
            if try await XenTaskEnd(self.record("task", task)) == nil {
                _ = await self.endAfterCancelling(task, within: self.limits.reason)
            }
        }
    }
}

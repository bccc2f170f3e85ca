import AsyncHTTPClient
package import BackupFormats
import Logging
import NIOCore
import NIOHTTP1
import Synchronization

extension XenConnection {
    package func importMachine(
        into storage: String, from source: any ByteSource, byteCount: UInt64?
    ) async throws -> String {
        let request = HandlerRequest(path: "/import/", query: [("sr_id", storage)], label: "VM import")
        let outcome = await upload(request, from: source, byteCount: byteCount)
        let machines = outcome.end.map { end -> [String] in
            guard case .success(let result) = end else { return [] }
            return XenTaskResult.references(result)
        }
        if outcome.failure == nil, !Task.isCancelled, let machine = machines?.first { return machine }
        // The host may have finished before it heard that we had not.
        for machine in machines ?? [] {
            do {
                try await uncancelled { try await self.destroyMachine(machine) }
            } catch {
                logger.warning("a machine imported in vain is left on the host: \(machine): \(error)")
            }
        }
        try Task.checkCancellation()
        throw outcome.failure ?? BackupFailure(.corruptData, "The host imported a machine and did not say which")
    }

    package func importDisk(_ ref: String, from source: any ByteSource, byteCount: UInt64) async throws {
        let request = HandlerRequest(
            path: "/import_raw_vdi/", query: [("vdi", ref), ("format", "vhd")], label: "VDI import")
        if let failure = await upload(request, from: source, byteCount: byteCount).failure { throw failure }
    }

    package func importPoolDatabase(from source: any ByteSource, byteCount: UInt64) async throws {
        let request = HandlerRequest(path: "/pool/xmldbdump", query: [], label: "Import pool metadata")
        if let failure = await upload(request, from: source, byteCount: byteCount).failure { throw failure }
    }

    private struct Outcome {
        var end: XenTaskEnd?
        var failure: (any Error)?
    }

    /// Sends a body and waits until the host's task has ended; the task is gone afterwards in every case.
    private func upload(_ request: HandlerRequest, from source: any ByteSource, byteCount: UInt64?) async -> Outcome {
        let task: String
        do {
            // First, since it finds out whether the session is still good.
            task = try await createTask(request.label, request.path)
        } catch {
            return Outcome(failure: error)
        }
        let url: HandlerURL
        do {
            url = try await findHost(request)
            try Task.checkCancellation()
        } catch {
            await destroyTask(task)
            return Outcome(failure: error)
        }
        let body = UploadBody(source)
        defer { body.stop() }
        var outcome = Outcome()
        do {
            try await put(url.with(task: task), request.label, body, byteCount, task)
            let end = try await end(of: task)
            outcome.end = end
            _ = try end.result()
        } catch {
            // A task that no request carried to the host never ends.
            let isCancelled = error is CancellationError
            let wasHeard = body.hasBegun || !isCancelled
            outcome.end = wasHeard ? await lastWord(task, outcome.end, isCancelled: isCancelled) : .cancelled
            outcome.failure = error
            if case .failure(let failure)? = outcome.end, !(error is CancellationError), !(error is SourceFault) {
                outcome.failure = failure
            }
            if let fault = error as? SourceFault { outcome.failure = fault.cause }
        }
        await destroyTask(task)
        return outcome
    }

    /// How a task ended whose transfer has failed: soon by itself, else by cancellation.
    private func lastWord(_ task: String, _ known: XenTaskEnd?, isCancelled: Bool) async -> XenTaskEnd {
        if let known { return known }
        if !isCancelled, let end = await end(of: task, within: limits.reason) { return end }
        return await endAfterCancelling(task)
    }

    /// The host that will take the body: asked with an empty one and without a task, so that a redirection is found
    /// before the body is begun. Any other answer to that question means nothing.
    private func findHost(_ request: HandlerRequest) async throws -> HandlerURL {
        var state = try await session.current()
        var url = HandlerURL(request, state)
        var hasRenewed = false
        for _ in 0...XenLimits.redirections {
            var probe = url
            // An empty database must not be taken for one.
            if request.path == "/pool/xmldbdump" { probe = probe.with("dry_run", "true") }
            let response = try await ask(.PUT, probe, within: limits.inactivity)
            if response.status == .unauthorized, !hasRenewed {
                hasRenewed = true
                state = try await renew(state)
                url = HandlerURL(request, state)
                continue
            }
            guard let location = response.redirection else { return url }
            url = try url.redirected(to: location)
        }
        throw BackupFailure(.unavailable, "\(request.label): the hosts of the pool redirect in a circle")
    }

    private func put(
        _ url: HandlerURL, _ label: String, _ body: UploadBody, _ byteCount: UInt64?, _ task: String
    ) async throws {
        if byteCount == nil {
            // Cut only after the host had time to take the last bytes.
            body.beforeEnd { _ = await self.end(of: task, within: self.limits.reason) }
        }
        let request = HTTPClientRequest.Body.stream(
            body, length: .known(Int64(clamping: byteCount ?? XenLimits.unknownLength)))
        let watch = Task {
            while body.readerIdle < limits.inactivity {
                try await Task.sleep(for: min(limits.inactivity / 4, .seconds(10)))
            }
            body.stop()
        }
        defer { watch.cancel() }
        do {
            let response = try await send(.PUT, url, body: request, within: nil)
            guard (200..<300).contains(response.status.code) else { throw await refusal(response, label, url, task) }
        } catch {
            try Task.checkCancellation()
            if let fault = body.fault { throw SourceFault(cause: fault) }
            if byteCount == nil, body.isAtEnd { return }
            if error is BackupFailure || error is XenFailure { throw error }
            throw BackupFailure(.unavailable, "\(label) was cut off after \(body.sent) bytes", cause: error)
        }
    }
}

/// What went wrong is the source of the body, not the host.
private struct SourceFault: Error {
    let cause: any Error
}

/// The body of an import: pulls from a source, a little ahead of the network.
final class UploadBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    static let pieceBytes = 1 << 20

    private struct State {
        var fault: (any Error)?
        var hasBegun = false
        var sent: UInt64 = 0
        var isAtEnd = false
        var beforeEnd: (@Sendable () async -> Void)?
    }

    private let pipe = BytePipe(limit: XenLimits.readAhead)
    private let state = Mutex(State())
    private let pump: Task<Void, Never>

    init(_ source: any ByteSource) {
        let pipe = pipe
        let fault = FaultBox()
        faults = fault
        pump = Task {
            do {
                while let bytes = try await source.read(upTo: Self.pieceBytes) {
                    try await pipe.write(ByteBuffer(bytes: bytes))
                }
                pipe.end()
            } catch {
                fault.set(error)
                pipe.end(error)
            }
        }
    }

    private let faults: FaultBox

    /// What the source threw, if it did.
    var fault: (any Error)? { faults.value }
    /// Whether it was asked for anything: the head of the request is on its way then.
    var hasBegun: Bool { state.withLock { $0.hasBegun } }
    var sent: UInt64 { state.withLock { $0.sent } }
    /// Whether the source has given all, and all of it was taken.
    var isAtEnd: Bool { state.withLock { $0.isAtEnd } }
    var readerIdle: Duration { pipe.readerIdle }

    /// Runs between the last piece and the end.
    func beforeEnd(_ body: @escaping @Sendable () async -> Void) { state.withLock { $0.beforeEnd = body } }

    func stop() {
        pump.cancel()
        pipe.abandon()
    }

    func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    struct Iterator: AsyncIteratorProtocol {
        let body: UploadBody

        func next() async throws -> ByteBuffer? { try await body.next() }
    }

    private func next() async throws -> ByteBuffer? {
        state.withLock { $0.hasBegun = true }
        if let piece = try await pipe.readPiece() {
            state.withLock { $0.sent += UInt64(piece.readableBytes) }
            return piece
        }
        let last = state.withLock { state in
            state.isAtEnd = true
            return state.beforeEnd.take()
        }
        await last?()
        return nil
    }
}

/// The first error that was put into it.
private final class FaultBox: Sendable {
    private let state = Mutex<(any Error)?>(nil)

    var value: (any Error)? { state.withLock { $0 } }

    func set(_ error: any Error) { state.withLock { $0 = $0 ?? error } }
}

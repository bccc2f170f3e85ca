import AsyncHTTPClient
import BackupFormats
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// An export on its way. The network is read ahead a little, so that it does not wait for the reader's every step.
final class XenDownload: XenTransfer {
    let byteCount: UInt64?
    private let connection: XenConnection
    private let label: String
    private let task: String
    private let pipe: BytePipe
    private let pump: Task<Void, Never>
    private let progress = Mutex(Progress())

    private struct Progress {
        var received: UInt64 = 0
        var end: XenTaskEnd?
        var failure: (any Error)?
        var isWhole = false
        var isFinished = false
    }

    init(_ response: HTTPClientResponse, _ label: String, task: String, _ connection: XenConnection) {
        byteCount = response.headers.first(name: "content-length").flatMap { UInt64($0) }
        self.connection = connection
        self.label = label
        self.task = task
        let pipe = BytePipe(limit: XenLimits.readAhead)
        self.pipe = pipe
        let limits = connection.limits
        let isMeasured = byteCount != nil
        pump = Task { await Self.pump(response.body, into: pipe, isMeasured: isMeasured, limits, label) }
    }

    /// Moves the body into the pipe, under the eye of a task that ends it when nothing comes for too long.
    private static func pump(
        _ body: HTTPClientResponse.Body, into pipe: BytePipe, isMeasured: Bool, _ limits: XenLimits, _ label: String
    ) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    var head = ErrorHead(label: label)
                    for try await piece in body {
                        pipe.arrived()
                        guard let free = try head.take(piece) else { continue }
                        try await pipe.write(free)
                    }
                    if let rest = try head.rest() { try await pipe.write(rest) }
                    pipe.end()
                } catch NIOSSLError.uncleanShutdown where !isMeasured {
                    // Without a length, a host may close as it likes: its task says whether this was the end.
                    pipe.end()
                } catch {
                    pipe.end(error)
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    let limit = pipe.hasStarted ? limits.inactivity : limits.firstByte
                    if pipe.writerIdle > limit {
                        pipe.end(BackupFailure(.unavailable, "\(label): nothing came for \(limit)"))
                        return
                    }
                    try? await Task.sleep(for: min(limits.inactivity / 4, .seconds(10)))
                }
            }
            await group.next()
            group.cancelAll()
        }
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        if let failure = progress.withLock({ $0.failure }) { throw failure }
        if progress.withLock({ $0.isWhole }) { return nil }
        do {
            if let bytes = try await pipe.read(upTo: maxBytes) {
                progress.withLock { $0.received += UInt64(bytes.count) }
                return bytes
            }
            try await confirm()
            return nil
        } catch let error as CancellationError {
            throw error
        } catch {
            let failure = await explain(error)
            progress.withLock { $0.failure = failure }
            throw failure
        }
    }

    /// After the last byte: the host says whether that was all.
    private func confirm() async throws {
        let end = await connection.end(of: task, within: connection.limits.verdict)
        try Task.checkCancellation()
        progress.withLock { $0.end = end }
        guard let end else {
            connection.logger.warning("\(label): the host did not say how its task ended; the bytes count as whole")
            return progress.withLock { $0.isWhole = true }
        }
        _ = try end.result()
        progress.withLock { $0.isWhole = true }
    }

    /// The host's reason where it gives one, else what was seen here.
    private func explain(_ error: any Error) async -> any Error {
        if error is XenFailure || error is BackupFailure { return error }
        if case .failure(let failure)? = await connection.end(of: task, within: connection.limits.reason) {
            return failure
        }
        let received = progress.withLock { $0.received }
        return BackupFailure(.unavailable, "\(label) was cut off after \(received) bytes", cause: error)
    }

    func finish() async {
        guard
            progress.withLock({ progress in
                defer { progress.isFinished = true }
                return !progress.isFinished
            })
        else { return }
        pump.cancel()
        pipe.abandon()
        _ = try? await uncancelled {
            if self.progress.withLock({ $0.end }) == nil { await self.connection.abandonTask(self.task) }
            await self.connection.destroyTask(self.task)
        }
    }
}

/// Finds a whole HTTP answer where the body should be, as a known defect of hosts sends it. (Spec: xo-proxy §6.5.)
struct ErrorHead {
    private static let mark = Array("HTTP/".utf8)
    let label: String
    private var held: ByteBuffer? = ByteBuffer()
    private var isError = false

    init(label: String) { self.label = label }

    /// The bytes that are free to go on; nil while it is not known what they are.
    mutating func take(_ piece: ByteBuffer) throws -> ByteBuffer? {
        guard var head = held else { return piece }
        head.writeImmutableBuffer(piece)
        held = head
        if !isError, head.readableBytes >= Self.mark.count {
            guard head.readableBytesView.starts(with: Self.mark) else {
                held = nil
                return head
            }
            isError = true
        }
        if isError, head.readableBytes >= 1024 { throw failure(head) }
        return nil
    }

    /// What is left at the end of the body.
    func rest() throws -> ByteBuffer? {
        guard let held else { return nil }
        if isError { throw failure(held) }
        return held
    }

    private func failure(_ head: ByteBuffer) -> BackupFailure {
        let text = String(decoding: head.readableBytesView.prefix(1024), as: UTF8.self)
        let line = text.prefix { !$0.isNewline }
        return BackupFailure(.unavailable, "\(label) failed on the host: \(line)")
    }
}

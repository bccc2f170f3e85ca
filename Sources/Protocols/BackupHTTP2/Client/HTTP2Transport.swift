import BackupFormats
import BackupProtocol
import NIOCore

/// A session's connection, as its client sees it.
final class HTTP2Transport: BackupTransport {
    private let channel: any Channel
    private let handler: NIOLoopBound<HTTP2ClientHandler>

    init(channel: any Channel, handler: NIOLoopBound<HTTP2ClientHandler>) {
        self.channel = channel
        self.handler = handler
    }

    deinit { channel.close(promise: nil) }

    func send(_ request: BackupRequest) async throws -> BackupResponse {
        let loop = channel.eventLoop
        let promise = loop.makePromise(of: BackupResponse.self)
        let handler = handler
        let stream = NIOLoopBoundBox<ClientStream?>.makeEmptyBox(valueType: ClientStream.self, eventLoop: loop)
        loop.execute {
            let call = ClientStream(request: request, promise: promise)
            stream.value = call
            handler.value.send(call)
        }
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            loop.execute { if let call = stream.value { handler.value.cancel(call) } }
        }
    }

    func close() async {
        try? await channel.close()
    }
}

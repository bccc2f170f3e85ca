import BackupProtocol
import NIOCore
import NIOHPACK
import NIOHTTP2

/// One call on a client's HTTP/2 connection.
final class ClientStream {
    enum Answer {
        case awaitingHead
        /// A body whose length was announced and is small enough to be gathered in one piece.
        case gathering(status: Int, contentType: String?, [UInt8])
        case streaming(ReceivedBody)
        case done
    }

    let request: BackupRequest
    let promise: EventLoopPromise<BackupResponse>
    var id: HTTP2StreamID?
    var answer = Answer.awaitingHead
    /// Bytes of the request's body that HTTP/2 has taken.
    var sentBytes = 0
    var isSending = false
    /// The receive window as HTTP/2 reported it last.
    var window = HTTP2Parameters.windowBytes

    init(request: BackupRequest, promise: EventLoopPromise<BackupResponse>) {
        self.request = request
        self.promise = promise
    }

    /// - Throws nothing: the other end of a failure is the promise, or the reader of the streamed body.
    func fail(_ error: any Error) {
        switch answer {
        case .awaitingHead, .gathering: promise.fail(error)
        case .streaming(let body): body.fail(error)
        case .done: break
        }
        answer = .done
    }

    var isDone: Bool { if case .done = answer { true } else { false } }
}

extension HPACKHeaders {
    /// The head of a call as the original client sends it. (Spec: protocol A.6, session trace.)
    init(_ request: BackupRequest, authority: String, userAgent: String) {
        let head = request.head
        self.init([
            (":method", head.method), (":scheme", "https"), (":authority", authority),
            (":path", head.query.isEmpty ? head.path : "\(head.path)?\(head.query)"), ("user-agent", userAgent),
        ])
        let emptyType = "application/x-www-form-urlencoded"
        add(
            name: "content-type",
            value: head.contentType ?? (request.body.isEmpty ? emptyType : BackupResponse.octetStream))
    }
}

import NIOCore

/// Sits below a server's HTTP/2 and lets its SETTINGS hold from the start.
///
/// Until the client acknowledges them, the library allows 100 streams and ends the connection at the next one; the
/// original's client begins without waiting and knows no such limit. All our settings allow more than the defaults, so
/// nothing is lost by taking them as acknowledged: the acknowledgement is put behind the client's SETTINGS, and the
/// client's own is dropped when it comes.
final class EarlyAcknowledgement: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private enum Stage {
        case awaitingSettings
        case awaitingAcknowledgement
        case done
    }

    private static let prefaceBytes = 24
    private static let headBytes = 9
    private static let settingsType: UInt8 = 4
    private static let acknowledgement: [UInt8] = [0, 0, 0, settingsType, 1, 0, 0, 0, 0]

    private var stage = Stage.awaitingSettings
    /// Bytes up to the next frame's head.
    private var bytesToPass = prefaceBytes
    private var acknowledgesNext = false
    /// The part of a frame's head that has come.
    private var pending = ByteBuffer()

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .done = stage { return context.fireChannelRead(data) }
        var bytes = unwrapInboundIn(data)
        pending.writeBuffer(&bytes)
        var output = context.channel.allocator.buffer(capacity: pending.readableBytes + Self.headBytes)
        while step(&output) {}
        pending.discardReadBytes()
        if output.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(output)) }
    }

    /// Moves bytes from `pending` to `output`; false where more must come.
    private func step(_ output: inout ByteBuffer) -> Bool {
        if case .done = stage {
            output.writeBuffer(&pending)
            return false
        }
        if bytesToPass > 0 {
            guard var piece = pending.readSlice(length: min(bytesToPass, pending.readableBytes)) else { return false }
            bytesToPass -= piece.readableBytes
            output.writeBuffer(&piece)
            if bytesToPass > 0 { return false }
        }
        if acknowledgesNext {
            acknowledgesNext = false
            output.writeBytes(Self.acknowledgement)
            stage = .awaitingAcknowledgement
        }
        guard let head = pending.getBytes(at: pending.readerIndex, length: Self.headBytes) else { return false }
        pending.moveReaderIndex(forwardBy: Self.headBytes)
        if case .awaitingAcknowledgement = stage, head == Self.acknowledgement {
            stage = .done
            return true
        }
        output.writeBytes(head)
        bytesToPass = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        if case .awaitingSettings = stage {
            // Anything else than SETTINGS is an error that HTTP/2 reports.
            if head[3] == Self.settingsType { acknowledgesNext = true } else { stage = .done }
        }
        return true
    }
}

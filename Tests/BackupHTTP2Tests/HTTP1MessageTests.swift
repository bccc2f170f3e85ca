import BackupHTTP2
import NIOCore
import Testing

@Suite("An HTTP/1.1 message")
struct HTTP1MessageTests {
    private func request(_ text: String) throws -> HTTP1RequestHead? {
        var buffer = ByteBuffer(string: text)
        return try HTTP1Head.take(from: &buffer).map { try HTTP1RequestHead($0) }
    }

    @Test("has a head that is found wherever it is cut")
    func slices() throws {
        let text = "\r\nGET //a?b=c HTTP/1.1\r\nHOST:  x \r\nEmpty:\r\n\r\nrest"
        for cut in 0..<text.utf8.count {
            var buffer = ByteBuffer(string: String(text.prefix(cut)))
            let early = try HTTP1Head.take(from: &buffer)
            buffer.writeString(String(text.dropFirst(cut)))
            let head = try #require(try early ?? HTTP1Head.take(from: &buffer))
            let request = try HTTP1RequestHead(head)
            #expect(request.method == "GET" && request.target == "//a?b=c")
            #expect(head.headers.map(\.name) == ["host", "empty"] && head.headers.map(\.value) == ["x", ""])
            #expect(String(buffer: buffer) == "rest")
        }
    }

    @Test("takes lines that end with a bare newline, and absolute targets without their authority")
    func lenient() throws {
        #expect(try request("GET /x HTTP/1.0\n\n")?.isVersion10 == true)
        #expect(try request("GET https://h:1/x?y HTTP/1.1\r\n\r\n")?.target == "/x?y")
        #expect(try request("GET http://h HTTP/1.1\r\n\r\n")?.target == "/")
    }

    @Test("keeps the connection as its version and Connection header say")
    func keepAlive() throws {
        #expect(try request("GET / HTTP/1.1\r\n\r\n")?.keepsAlive == true)
        #expect(try request("GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n")?.keepsAlive == false)
        #expect(try request("GET / HTTP/1.0\r\n\r\n")?.keepsAlive == false)
        #expect(try request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")?.keepsAlive == true)
    }

    @Test(
        "is refused where two readers could disagree",
        arguments: [
            "G\u{1}T / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nA : b\r\n\r\n", "GET / HTTP/1.1\r\n b: c\r\n\r\n",
            "GET / HTTP/1.1\r\n: c\r\n\r\n", "GET / HTTP/1.1\r\nA: b\u{0}c\r\n\r\n", "GET / HTTP/1.2\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        ])
    func refused(_ text: String) {
        #expect(throws: HTTP1Error.self) { try request(text) }
    }

    @Test("has a chunked body that is found however it is cut, and ends where it ends")
    func chunks() throws {
        let head = try #require(try request("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"))
        let text = "5\r\nhello\r\nA;q=1\r\n, worldwid\r\n1\r\ne\r\n0\r\nX: y\r\n\r\nnext"
        for size in 1...9 {
            var body = try HTTP1Body(of: head)
            var buffer = ByteBuffer()
            var result = ""
            var rest = Substring(text)
            while !body.hasEnded {
                buffer.writeString(String(rest.prefix(size)))
                rest = rest.dropFirst(size)
                while let piece = try body.take(from: &buffer, limit: 3) { result += String(buffer: piece) }
            }
            #expect(result == "hello, worldwide")
            #expect(String(buffer: buffer) + rest == "next")
        }
    }

    @Test(
        "is refused where its chunks are wrong",
        arguments: ["x\r\n", "-1\r\n", "+1\r\na\r\n", "\r\n", "1\r\nab\r\n", "fffffffffffffffff\r\n"])
    func badChunks(_ text: String) throws {
        let head = try #require(try request("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"))
        var body = try HTTP1Body(of: head)
        var buffer = ByteBuffer(string: text)
        #expect(throws: HTTP1Error.self) { while try body.take(from: &buffer) != nil {} }
    }

    @Test("in answer to HEAD, or with certain statuses, has no body")
    func bodyless() throws {
        var buffer = ByteBuffer(
            string: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 304 x\r\n\r\nHTTP/1.1 200\r\n\r\n")
        let first = try HTTP1ResponseHead(#require(try HTTP1Head.take(from: &buffer)))
        #expect(try HTTP1Body(of: first, method: "HEAD").hasEnded)
        #expect(try !HTTP1Body(of: first, method: "GET").hasEnded)
        let second = try HTTP1ResponseHead(#require(try HTTP1Head.take(from: &buffer)))
        #expect(try HTTP1Body(of: second, method: "GET").hasEnded)
        let third = try HTTP1ResponseHead(#require(try HTTP1Head.take(from: &buffer)))
        #expect(try HTTP1Body(of: third, method: "GET").lastsUntilClose)
    }
}

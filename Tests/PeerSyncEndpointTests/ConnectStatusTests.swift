import PeerSyncProtocol
import Testing

@testable import PeerSyncEndpoint

@Suite("Answers of Connect")
struct ConnectStatusTests {
    @Test("An end says its code and nothing else that is inside")
    func ends() throws {
        #expect(String(decoding: StreamEnd.clean.encoded, as: UTF8.self) == "{}")
        let refused = StreamEnd(PeerSyncFailure(.authentication, "the secret has expired"))
        #expect(!refused.message.contains("secret"))
        #expect(try StreamEnd(parsing: refused.encoded) == refused)
        #expect(refused.code?.httpStatus == 403)
    }
}

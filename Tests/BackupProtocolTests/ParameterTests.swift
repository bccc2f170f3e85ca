import BackupFormats
import BackupProtocol
import Testing

@Suite("Parameters of a call")
struct ParameterTests {
    static let schema = ParameterSchema([
        .required("store", .datastore), .required("wid", .writerID), .optional("debug", .boolean),
        .optional("list", .array(of: .count)), .optional("cf", .oneOf(["MAX", "AVERAGE"])),
    ])

    static func text(_ query: String, body: String = "", type: String? = nil) throws -> ParameterValues {
        try schema.values(of: ParameterSource(query: query, contentType: type, body: Array(body.utf8)))
    }

    static func refusal(_ query: String, body: String = "", type: String? = nil) -> String {
        do {
            _ = try text(query, body: body, type: type)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test("come from query and form together")
    func merges() throws {
        let values = try Self.text("store=abc&_dc=17", body: "wid=3&debug=ON&list=1&list=2")
        #expect(try values.string("store") == "abc")
        #expect(try values.integer("wid") == 3)
        #expect(values.booleanIfPresent("debug") == true)
        #expect(values.integers("list") == [1, 2])
    }

    @Test("come from a JSON body alone, whatever the query says")
    func json() throws {
        let type = "application/json; charset=UTF-8"
        let values = try Self.text("wid=9&nonsense=1", body: #"{"store":"abc","wid":1,"list":[]}"#, type: type)
        #expect(try values.integer("wid") == 1)
        #expect(values.arrayIfPresent("list") == [])
        #expect(
            Self.refusal("", body: #"{"store":"abc","wid":"1"}"#, type: type).hasPrefix(
                "parameter verification failed - 'wid': "))
        #expect(Self.refusal("", body: "[1]", type: type) == "Expected object - got array.")
        #expect(Self.refusal("", body: #""x""#, type: type) == "Expected object - got scalar value.")
        #expect(Self.refusal("", body: #"{"store":"#, type: type) != "accepted")
    }

    @Test(
        "are refused with a text that names them",
        arguments: [
            ("store=abc", "parameter verification failed - 'wid': parameter is missing and it is not optional."),
            (
                "",
                "parameter verification failed:\n- 'store': parameter is missing and it is not optional.\n"
                    + "- 'wid': parameter is missing and it is not optional.\n"
            ),
            ("store=ab&wid=1", "parameter verification failed - 'store': value must be at least 3 characters long"),
            ("store=a+b&wid=1", "parameter verification failed - 'store': value does not match the regex pattern"),
            ("store=abc&wid=0", "parameter verification failed - 'wid': value must have a minimum value of 1 (got 0)"),
            (
                "store=abc&wid=257",
                "parameter verification failed - 'wid': value must have a maximum value of 256 (got 257)"
            ),
            ("store=abc&wid=x", "parameter verification failed - 'wid': Expected integer value."),
            ("store=abc&wid=1&wid=1", "parameter verification failed - 'wid': duplicate parameter."),
            ("store=abc&wid=1&debug=t", "parameter verification failed - 'debug': Expected boolean value."),
            (
                "store=abc&wid=1&list=-1",
                "parameter verification failed - 'list/[0]': value must have a minimum value of 0 (got -1)"
            ),
            (
                "store=abc&wid=1&cf=FOO",
                "parameter verification failed - 'cf': value 'FOO' is not defined in the enumeration."
            ),
            ("wid=1&x-y=1", "parameter verification failed - 'x-y': schema does not allow additional properties."),
        ])
    func refusals(_ query: String, _ text: String) {
        #expect(Self.refusal(query) == text)
    }

    @Test("of another content type are refused, and an empty body only where no exception is asked for")
    func contentType() throws {
        #expect(Self.refusal("store=abc&wid=1", type: "text/plain") == "unsupported content type 'text/plain'")
        let source = try ParameterSource(
            query: "store=abc&wid=1", contentType: "application/octet-stream", body: [], anyTypeIfEmpty: true)
        #expect(try Self.schema.values(of: source).integer("wid") == 1)
    }

    @Test("of the path join those of a JSON body")
    func path() throws {
        let source = try ParameterSource(query: "", contentType: "application/json", body: Array(#"{"wid":2}"#.utf8))
        let values = try Self.schema.values(of: source, path: [("store", "abc")])
        #expect(try values.string("store") == "abc")
    }

    @Test("never make an answer without bound")
    func manyErrors() {
        let query = (0..<10_000).map { "x\($0)=1" }.joined(separator: "&")
        #expect(Self.refusal(query).utf8.count < 16_384)
    }

    @Test("are decoded from forms and encoded again", arguments: ["", "a b+c%", "ü/ö?&=", "\u{0}\u{7f}"])
    func forms(_ text: String) {
        let pairs = FormText.pairs(FormText.encode([(name: text, value: text)]).utf8)
        #expect(pairs.map(\.value) == [text])
        #expect(pairs.map(\.name) == [text])
    }

    @Test("with broken escapes stay as they are")
    func brokenEscapes() {
        #expect(
            FormText.pairs("a=%4&b=%zz&c&=d".utf8).map { "\($0.name):\($0.value)" } == ["a:%4", "b:%zz", "c:", ":d"])
    }
}

@Suite("A request to open a session")
struct OpenRequestTests {
    static func open(_ query: String, _ id: ProtocolID = .backup) throws -> OpenRequest {
        try OpenRequest(OpenRequest.schema(of: id).values(of: ParameterSource(query: query)))
    }
    static let base = "store=abc&backup-type=host&backup-id=h.1&backup-time=1700000000"

    @Test("names datastore, namespace and snapshot, and survives the way to the other side")
    func roundTrip() throws {
        let request = try Self.open(Self.base + "&ns=a/b&debug=yes&benchmark=false&no-cache=1")
        #expect(request.snapshot.description == "host/h.1/2023-11-14T22:13:20Z")
        #expect(request.namespace.description == "a/b")
        #expect(request.debug)
        let sent = FormText.encode(request.parameters(for: .backup))
        #expect(try Self.open(sent) == request)
    }

    @Test(
        "is refused where a value breaks the rules",
        arguments: [
            "&ns=/a", "&ns=.x", "&ns=a/b/c/d/e/f/g/h/i", "&store=abc", "&debug=maybe", "&foo=1",
        ])
    func refusals(_ suffix: String) {
        #expect(throws: ParameterFailure.self) { try Self.open(Self.base + suffix) }
    }

    @Test("has its own text for a namespace that is one level too deep")
    func depth() {
        do {
            _ = try Self.open(Self.base + "&ns=a/b/c/d/e/f/g/h")
            Issue.record("accepted")
        } catch {
            #expect(!"\(error)".contains("parameter verification failed"))
        }
    }

    @Test("of a reader takes no benchmark")
    func reader() {
        #expect(throws: ParameterFailure.self) { try Self.open(Self.base + "&benchmark=1", .reader) }
    }
}

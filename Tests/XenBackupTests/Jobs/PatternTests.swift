import BackupFormats
import Testing

@testable import XenBackup

@Suite("A pattern of ids")
struct SimpleIDPatternTests {
    @Test(
        "names ids",
        arguments: [
            (#"{"id":"x"}"#, ["x"]), (#"{"id":{"__or":["x","y"]}}"#, ["x", "y"]), (#"{"id":{"__or":[]}}"#, []),
            (#"{"id":{"__or":["x","x","y"]}}"#, ["x", "y"]),
        ])
    func accepted(_ text: String, ids: [String]) throws {
        #expect(try SimpleIDPattern.ids(of: JSONValue(parsing: text)) == ids)
    }

    @Test("names none where it is absent")
    func absent() throws {
        #expect(try SimpleIDPattern.ids(of: nil).isEmpty)
    }

    @Test(
        "is refused where it says anything else",
        arguments: [
            "{}", #""x""#, "null", "1", "[]", #"{"id":1}"#, #"{"id":null}"#, #"{"id":["x"]}"#,
            #"{"id":{"__and":["x"]}}"#,
            #"{"id":{"__or":"x"}}"#, #"{"id":{"__or":["x",1]}}"#, #"{"id":{"__or":["x"],"a":1}}"#,
            #"{"id":"x","type":"VM"}"#, #"{"name":"x"}"#,
        ])
    func refused(_ text: String) throws {
        let pattern = try JSONValue(parsing: text)
        let failure = try #require(throws: BackupFailure.self) { try SimpleIDPattern.ids(of: pattern) }
        #expect(failure.summary == "invalid pattern")
    }
}

@Suite("A pattern")
struct PatternTests {
    static let table: [(pattern: String, value: String, matches: Bool)] = [
        ("1", "1", true), ("1", "1.0", true), ("1", "2", false), ("1", #""1""#, false),
        (#""a""#, #""a""#, true), ("null", "null", true), ("null", "false", false), ("true", "true", true),
        ("[1]", "[1,2]", true), ("[1,2]", "[2,1,3]", true), ("[1,4]", "[1,2]", false), ("[]", "[]", true),
        ("[1]", "1", false), (#"[{"a":1},{"a":1}]"#, #"[{"a":1}]"#, true),
        (#"{"a":1}"#, #"{"a":1,"b":2}"#, true), (#"{"a":1}"#, #"{"b":2}"#, false), (#"{"a":null}"#, "{}", false),
        (#"{"a":{"b":[1]}}"#, #"{"a":{"b":[0,1]}}"#, true), ("{}", "{}", true), ("{}", "1", false),
        (#"{"__or":[1,2]}"#, "2", true), (#"{"__or":[]}"#, "2", false), (#"{"__and":[]}"#, "2", true),
        (#"{"__and":[{"a":1},{"b":2}]}"#, #"{"a":1,"b":2}"#, true),
        (#"{"__and":[{"a":1},{"b":3}]}"#, #"{"a":1,"b":2}"#, false),
        (#"{"__not":1}"#, "2", true), (#"{"__not":{"a":1}}"#, #"{"a":1}"#, false),
        (#"{"tags":{"__not":["x"]}}"#, #"{"tags":["y"]}"#, true),
        (
            #"{"power_state":{"__or":["Running","Paused"]},"tags":["prod"]}"#,
            #"{"power_state":"Paused","tags":["a","prod"]}"#, true
        ),
        (#"{"__or":[1],"a":2}"#, #"{"__or":[1],"a":2}"#, true), (#"{"__or":[1],"a":2}"#, "1", false),
    ]

    @Test("says which values it matches", arguments: table)
    func matches(_ line: (pattern: String, value: String, matches: Bool)) throws {
        let pattern = Pattern(try JSONValue(parsing: line.pattern))
        #expect(pattern.matches(try JSONValue(parsing: line.value)) == line.matches, "\(line.pattern) on \(line.value)")
    }

    @Test("matches nothing where it is nested without end")
    func depth() {
        var pattern: JSONValue = 1
        for _ in 0..<200 { pattern = ["__and": [pattern]] }
        #expect(!Pattern(pattern).matches(1))
    }
}

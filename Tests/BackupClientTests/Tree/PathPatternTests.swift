import BackupClient
import BackupFormats
import Testing

@Suite("A path pattern")
struct PathPatternTests {
    func matches(_ pattern: String, _ path: String, isFolder: Bool = false) throws -> Bool {
        let names = path.split(separator: "/").map { Array($0.utf8) }
        return try PathPattern(pattern).matches(names[...], isFolder: isFolder)
    }

    @Test(
        "matches",
        arguments: [
            ("*.tmp", "a.tmp"), ("*.tmp", "deep/er/a.tmp"), ("/a", "a"), ("a/b", "x/a/b"), ("/a/**/b", "a/b"),
            ("/a/**/b", "a/x/y/b"), ("**/x", "x"), ("a?c", "abc"), ("[a-c]x", "bx"), ("[!a-c]x", "dx"),
            ("[]]x", "]x"), ("\\*", "*"), ("!a", "a"), ("a*b*c", "aXbYbZc"), ("/**", "any/thing"), ("*", "x/y"),
            ("a[b\\]]c", "a]c"), ("[a-]x", "-x"), ("/a/**/b/**/c", "a/b/b/x/c"),
        ])
    func positive(_ pattern: String, _ path: String) throws {
        #expect(try matches(pattern, path))
    }

    @Test(
        "does not match",
        arguments: [
            ("*.tmp", "a.tmp2"), ("/a", "x/a"), ("a/b", "a/x/b"), ("a?c", "ac"), ("[a-c]x", "dx"), ("[!a-c]x", "ax"),
            ("\\*", "x"), ("a", "A"), ("a", "a/b"), ("a/", "a"), ("a*b", "a/b"), ("/a/**/b", "a/b/c"),
        ])
    func negative(_ pattern: String, _ path: String) throws {
        #expect(try !matches(pattern, path))
    }

    @Test("with a slash at the end is for folders")
    func folders() throws {
        #expect(try matches("a/", "x/a", isFolder: true))
        #expect(try PathPattern("!a").isNegated)
    }

    @Test("is refused when it is none", arguments: ["", "/", "!", "!/", "[a", "a\\", "x/[", "[]"])
    func refused(_ pattern: String) {
        let failure = #expect(throws: BackupFailure.self) { try PathPattern(pattern) }
        #expect(failure?.kind == .invalidInput)
    }

    @Test("takes bounded time for stars without end")
    func stars() throws {
        let name = String(repeating: "a", count: 250)
        #expect(try !matches(String(repeating: "a*", count: 100) + "b", name))
        #expect(
            try !matches(
                String(repeating: "**/a/", count: 50) + "b", Array(repeating: "a", count: 200).joined(separator: "/")))
    }
}

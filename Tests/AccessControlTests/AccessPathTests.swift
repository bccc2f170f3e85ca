import Testing

@testable import AccessControl

@Suite("An access path")
struct AccessPathTests {
    @Test(
        "takes roles where the tree has a branch",
        arguments: [
            "/", "/access", "/access/acl", "/access/users", "/access/domains", "/access/openid", "/access/openid/x",
            "/datastore", "/datastore/s", "/datastore/s/1/2/3/4/5/6/7", "/remote", "/remote/r", "/remote/r/s",
            "/remote/r/s/1/2/3/4/5/6/7", "/system", "/system/tasks", "/system/services/x", "/system/network",
            "/system/network/dns", "/system/network/interfaces/eth0", "/system/s3-endpoint/a", "/tape",
            "/tape/device/d",
            "/tape/pool", "/tape/job/j",
        ])
    func valid(text: String) throws {
        let path = try #require(AccessPath(parsing: text))
        #expect(path.isValidForACL)
        #expect(path.description == text)
    }

    @Test(
        "takes none elsewhere",
        arguments: [
            "/nowhere", "/access/x", "/access/acl/x", "/access/openid/x/y", "/datastore/s/1/2/3/4/5/6/7/8",
            "/system/x", "/system/tasks/x", "/system/services/x/y", "/system/network/x", "/system/network/dns/x",
            "/tape/x",
            "/tape/device/d/e",
        ])
    func invalid(text: String) throws { #expect(try !#require(AccessPath(parsing: text)).isValidForACL) }

    @Test("is refused when malformed", arguments: ["", "a", "a/b", "/a/", "//a", "/a//b", "/.a", "/a b", "/ä"])
    func malformed(text: String) { #expect(AccessPath(parsing: text) == nil) }

    @Test("is at most 128 bytes long")
    func length() {
        #expect(AccessPath(parsing: "/" + String(repeating: "a", count: 127)) != nil)
        #expect(AccessPath(parsing: "/" + String(repeating: "a", count: 128)) == nil)
    }
}

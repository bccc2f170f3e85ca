import BackupFormats
import Testing

@testable import XenAPI

@Suite("The address of a pool")
struct AddressTests {
    @Test(
        "is read in all its shapes",
        arguments: [
            ("192.0.2.1", "https://192.0.2.1"),
            ("xen.example.org:4443", "https://xen.example.org:4443"),
            ("http://host/", "http://host"),
            ("http:host", "http://host"),
            ("https:////host/base/", "https://host/base"),
            ("HTTPS://host", "https://host"),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("root:p%40ss%3a@host:80", "https://host:80"),
        ])
    func shapes(_ text: String, _ url: String) throws {
        #expect(try XenAddress(text).unwrapped().url == url)
    }

    @Test(
        "is refused where it is none",
        arguments: ["", "https://", "host:port", "host:0", "host:70000", "[::1", "a b", "[::1]x"])
    func refused(_ text: String) { #expect(XenAddress(text) == nil) }

    @Test("holds credentials, percent-decoded, which count where no others are given")
    func credentials() throws {
        let inside = try XenTarget(["url": "https://ro%40ot:p%3Aw:x@host"])
        #expect(inside.userName == "ro@ot")
        #expect(inside.password == "p:w:x")
        let outside = try XenTarget([
            "url": "https://a:b@host", "credentials": ["username": "u", "password": "p"], "allowUnauthorized": true,
        ])
        #expect((outside.userName, outside.password) == ("u", "p"))
        #expect(outside.allowsUnauthorized)
    }

    @Test("has to come with credentials, and its failures do not show any")
    func missing() {
        for json: JSONObject in [
            ["url": "https://host"], [:], ["url": "https://me:hidden@"], ["url": "https://me:hidden@h h"],
        ] {
            do {
                _ = try XenTarget(json)
                Issue.record("\(json) was taken")
            } catch {
                #expect(error.kind == .invalidInput)
                #expect(!"\(error)".contains("hidden"))
            }
        }
    }

    @Test("may be reached through a proxy, but not one that wants TLS")
    func proxy() throws {
        let json: JSONObject = ["url": "h", "credentials": ["username": "u", "password": "p"]]
        var plain = json
        plain["httpProxy"] = "http://me:pw@proxy:3128"
        #expect(try XenTarget(plain).proxy?.host == "proxy")
        var tls = json
        tls["httpProxy"] = "https://proxy"
        #expect { try XenTarget(tls) } throws: { ($0 as? BackupFailure)?.kind == .unsupported }
    }

    @Test("of another member keeps scheme, path and port")
    func members() throws {
        let master = try XenAddress("http://u:p@10.0.0.1:8080/x").unwrapped()
        #expect(master.member("10.0.0.2")?.url == "http://10.0.0.2:8080/x")
        #expect(master.member("10.0.0.2:81")?.url == "http://10.0.0.2:81/x")
        #expect(master.member("")?.url == nil)
    }
}

@Suite("A date of a host")
struct DateTests {
    @Test(
        "is read in all its spellings",
        arguments: [
            "20231114T22:13:20Z", "20231114T221320Z", "2023-11-14T22:13:20Z", "20231114T22:13:20",
            "20231114T22:13:20.000Z",
            "20231115T00:13:20+02:00", "20231114T17:43:20-0430", "2023-11-15T00:13:20.0+02",
        ])
    func spellings(_ text: String) { #expect(XenDate.parse(text) == 1_700_000_000_000) }

    @Test(
        "is refused where it is none",
        arguments: [
            "", "T", "20231114", "20231314T22:13:20Z", "20231114T22:13Z", "20231114T22:13:20.Z", "20231114T22:13:20+2",
        ])
    func refused(_ text: String) { #expect(XenDate.parse(text) == nil) }

    @Test("is written as marks and file names have it")
    func written() {
        #expect(XenDate.text(1_700_000_000_999) == "20231114T22:13:20Z")
        #expect(XenDate.fileName(1_700_000_000_000) == "20231114T221320Z")
        #expect(XenDate.parse("20231114T22:13:20.25Z") == 1_700_000_000_250)
        #expect(XenDate.text(-1) == "19691231T23:59:59Z")
    }
}

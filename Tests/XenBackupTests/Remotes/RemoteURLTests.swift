import BackupFormats
import Testing
import XenBackup

@Suite("The address of a remote")
struct RemoteURLTests {
    /// Every printable character that is special anywhere.
    private static let special = "p:@ss/w?o#r\\d%20&=+ \"'<>{}[]|^`~;,$!*()é€"

    @Test(
        "is read and written again as it was",
        arguments: [
            "file:///var/lib/backups", "file:///with blank/and%20percent", "file:///",
            "nfs://192.168.1.5:/media/nfs", "nfs://host.example.org:2049:/media/nfs", "nfs://[fe80::1]:/x",
            "smb://Administrator:pas:sw@ord@toto\\\\192.168.1.5\\share",
            "smb://Administrator:pas:sw@ord@toto\\\\192.168.1.5\\share\0folder\\deeper", "smb://u:@\\\\h\\s",
            "s3://AKIAS:XSuBupZ0mJlu%2B@s3-us-west-2.amazonaws.com/test-bucket/dir",
            "s3+http://Administrator:password@192.168.100.225:9000/bucket", "s3://a:b@s3.example.org/b/c/d#eu-west-3",
            "s3://a:b@s3.example.org/bucket?allowUnauthorized=true#reg",
            "azure://account:key%2Fkey%3D%3D@account.blob.core.windows.net/container/folder",
            "azurite://account:key@localhost:10000/container", "azurite+http://account:key@localhost:10000/container",
            "file:///x?useVhdDirectory=true&encryptionKey=%2212345678901234567890123456789012%22",
            "file:///x?unknown=%7B%22a%22%3A%5B1%2C2.50%2Cnull%5D%7D&other=1e3&immutable=true",
        ])
    func roundTrip(_ text: String) throws {
        let url = try RemoteURL(parsing: text)
        #expect(url.text == text)
        #expect(try RemoteURL(parsing: url.text) == url)
    }

    @Test("names its parts")
    func parts() throws {
        #expect(try RemoteURL(parsing: "nfs://host:99:/a/b").place == .nfs(host: "host", port: 99, path: "/a/b"))
        guard case .smb(let share) = try RemoteURL(parsing: "smb://me:a:b@c@dom\\\\host\\share\0x\\y").place else {
            Issue.record("no share")
            return
        }
        #expect([share.userName, share.password, share.domain] == ["me", "a:b@c", "dom"])
        #expect([share.host, share.share, share.folder] == ["host", "share", "x\\y"])
        guard case .s3(let place) = try RemoteURL(parsing: "s3+http://k%2F:s%40%3A@host:90/bucket/a/b/?x#r").place
        else {
            Issue.record("no bucket")
            return
        }
        #expect([place.accessKey, place.secretKey, place.host] == ["k/", "s@:", "host:90"])
        #expect([place.bucket, place.folder, place.region] == ["bucket", "a/b", "r"])
        #expect(!place.isTLS)
    }

    @Test("repairs a path without its slash")
    func repairs() throws {
        #expect(try RemoteURL(parsing: "file://var/lib").place == .file(path: "/var/lib"))
        #expect(try RemoteURL(parsing: "file:/var/lib").place == .file(path: "/var/lib"))
        #expect(try RemoteURL(parsing: "file:////var/lib").place == .file(path: "/var/lib"))
    }

    @Test("holds credentials with every special character")
    func credentials() throws {
        let s3 = RemoteURL(
            .s3(
                RemoteURL.S3Place(
                    isTLS: true, accessKey: "key:@", secretKey: Self.special, host: "h", bucket: "b", folder: "",
                    region: nil)))
        #expect(try RemoteURL(parsing: s3.text) == s3)
        #expect(!s3.display.contains("ss%2Fw%3Fo%23r%5Cd%2520%26"))
        let smb = RemoteURL(
            .smb(
                RemoteURL.SMBShare(
                    userName: "user", password: Self.special, domain: "domain", host: "host", share: "share",
                    folder: "a\\b")), options: ["unknown": .string(Self.special)])
        #expect(try RemoteURL(parsing: smb.text) == smb)
        #expect(!smb.display.contains(Self.special))
    }

    @Test("keeps its options as JSON; an empty one is false")
    func options() throws {
        let url = try RemoteURL(parsing: "file:///x?useVhdDirectory=&b&allowUnauthorized=true&n=12&s=%22a%22")
        #expect(
            url.options == ["useVhdDirectory": false, "b": false, "allowUnauthorized": true, "n": 12, "s": "a"])
        #expect(!url.usesBlockFolders)
        #expect(url.allowsUnauthorized)
    }

    @Test(
        "takes its region from itself, from Amazon's host, or is in the usual one",
        arguments: [
            ("s3://a:b@s3.eu-west-1.amazonaws.com/b", "eu-west-1"), ("s3://a:b@s3.amazonaws.com/b", "us-east-1"),
            ("s3://a:b@s3.eu-west-1.amazonaws.com/b#x", "x"), ("s3://a:b@s3.example.org/b", "us-east-1"),
            ("s3://a:b@s3.example.org/b#", "us-east-1"),
        ])
    func region(_ text: String, _ region: String) throws {
        guard case .s3(let place) = try RemoteURL(parsing: text).place else { throw BackupFailure(.invalidInput, text) }
        #expect(place.effectiveRegion == region)
    }

    @Test(
        "is refused with a reason and without its secrets",
        arguments: [
            "", "/mnt/backup", "ftp://host/hush", "nfs://host/hush", "nfs://host:hush:/x", "nfs://:/hush",
            "nfs://host:70000:/hush", "smb://user:hush@domain\\host\\share", "smb://user@domain\\\\host\\hush",
            "smb://user:hush@domain\\\\host", "s3://key:hush@host", "s3://key:hush@host/", "s3://hush@host/b",
            "s3://key:sec/ret@host/b", "s3://key:hush%zz@host/bucket", "azure://host/hush",
            "file:///x?a=hush", "file:///x?a=%zz", "file:///x?encryptionKey=%22hush%22",
            "file:///hush/xo-vm-backups", "file:///hush/xo-vm-backups/?a=true", "s3://k:hush@h/b/xo-vm-backups",
        ])
    func refused(_ text: String) {
        #expect {
            _ = try RemoteURL(parsing: text)
        } throws: { error in
            guard let failure = error as? BackupFailure else { return false }
            return failure.kind == .invalidInput && !failure.description.contains("hush")
        }
    }

    @Test("shows no secret")
    func display() throws {
        for (text, shown) in [
            (
                "s3://key:secret@host/bucket/dir?allowUnauthorized=true#r",
                "s3://key:***@host/bucket/dir?allowUnauthorized=true#r"
            ),
            ("smb://user:sec:ret@dom\\\\host\\share\0dir", "smb://user:***@dom\\\\host\\share\\dir"),
            ("azure://acc:secret@host/c", "azure://acc:***@host/c"),
            (
                "file:///x?useVhdDirectory=true&encryptionKey=%22secret%22",
                "file:///x?useVhdDirectory=true&encryptionKey=***"
            ),
        ] {
            #expect(try RemoteURL(parsing: text).display == shown)
        }
    }
}

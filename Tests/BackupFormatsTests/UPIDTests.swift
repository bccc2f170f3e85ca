import BackupFormats
import CairnTestSupport
import Testing

@Suite("A task id")
struct UPIDTests {
    @Test("reads what the reference server wrote")
    func reads() throws {
        let text =
            #"UPID:vm:000069D3:0002C736:0000003E:6B012AD6:verify_snapshot:fix\x3a-host-plain-665A6480:tester@pbs:"#
        let upid = try UPID(parsing: text)
        #expect(upid.node == "vm")
        #expect(upid.pid == 0x69d3)
        #expect(upid.processStart == 0x2c736)
        #expect(upid.taskID == 0x3e)
        #expect(upid.startTime == 0x6b01_2ad6)
        #expect(upid.workerType == "verify_snapshot")
        #expect(upid.workerID == "fix:/host/plain/665A6480")
        #expect(upid.authID.description == "tester@pbs")
        #expect(upid.logFolder == "36")
        #expect(upid.description == text)
    }

    @Test(
        "is the same after printing, whatever the worker id",
        arguments: [
            nil, "store1", "store1:ns/a/ns/b/vm/100/665A6480", "a:b/c@d!e-f", ".hidden", "with blank", "grün",
            #"back\slash"#,
            "store1:prod/eu:host/x.y_z-1", "-", "//",
        ])
    func roundTrip(workerID: String?) throws {
        let owner = try #require(AuthID(parsing: "a@pbs!tok-1"))
        let upid = try #require(
            UPID(
                node: "backup-1", pid: 1, processStart: 0x1_2345_6789, taskID: 0xffff_ffff_ffff,
                startTime: 1_717_200_000,
                workerType: "backup", workerID: workerID, authID: owner))
        let parsed = try UPID(parsing: upid.description)
        #expect(parsed == upid)
        #expect(parsed.workerID == workerID)
        #expect(upid.description.hasPrefix("UPID:backup-1:00000001:123456789:FFFFFFFFFFFF:665A6480:backup:"))
    }

    @Test(
        "is refused in any other form",
        arguments: [
            "", "UPID", "UPID::::::::", "upid:vm:000069D3:0002C736:0000003E:6B012AD6:gc:fix:root@pam:",
            "UPID:vm:69D3:0002C736:0000003E:6B012AD6:gc:fix:root@pam:",
            "UPID:vm:+00069D3:0002C736:0000003E:6B012AD6:gc:fix:root@pam:",
            "UPID:vm:-0000000:0002C736:0000003E:6B012AD6:gc:fix:root@pam:",
            "UPID:vm:000069D3:0002C736:0000003E:6B012AD6:gc:fix:root@pam",
            "UPID:vm:000069D3:0002C736:0000003E:6B012AD6:gc:fix:root@pam::",
            "UPID:vm:000069D3:0002C736:0000003E:6B012AD6:gc:fix:root:",
            "UPID:vm:000069D3:0002C736:0000003E:6B012AD6::fix:root@pam:",
            "UPID:a/b:000069D3:0002C736:0000003E:6B012AD6:gc:fix:root@pam:",
            #"UPID:vm:000069D3:0002C736:0000003E:6B012AD6:gc:fix\x3:root@pam:"#,
            #"UPID:vm:000069D3:0002C736:0000003E:6B012AD6:gc:fix\xff:root@pam:"#,
            "UPID:vm:000069D3:0002C736:0000003E:6B012AD6:gc:" + String(repeating: "x", count: 3000) + ":root@pam:",
        ])
    func refused(_ text: String) {
        #expect(throws: FormatError.self) { try UPID(parsing: text) }
    }

    @Test("escapes like a systemd unit")
    func escapes() throws {
        #expect(UnitName.escape("vm/100") == "vm-100")
        #expect(UnitName.escape("a-b.c_d:e") == #"a\x2db.c_d\x3ae"#)
        #expect(UnitName.escape(".a") == #"\x2ea"#)
        #expect(try UnitName.unescape(#"a\x2Db-c"#) == "a-b/c")
    }
}

import BackupFormats
import Testing
import VirtualDisks

@Suite("The description of a machine in an XVA")
struct XVADescriptionTests {
    @Test("names the disks")
    func disks() throws {
        let description = try XVADescription(parsing: Array(HandMadeXVA.description.utf8))
        #expect(description.disks.map(\.id) == ["Ref:4", "Ref:5"])
        #expect(description.disks.map(\.size) == [5_242_880, 1500])
        #expect(description.disks.map(\.uuid) == ["disk-uuid", ""])
        #expect(description.disks.map(\.name) == ["root <1> 💾", ""])
    }

    @Test("is refused wherever it is cut")
    func cut() {
        let bytes = Array(HandMadeXVA.description.utf8)
        for length in stride(from: 0, to: bytes.count - 8, by: 37) {
            #expect(throws: FormatError.self) { try XVADescription(parsing: Array(bytes[..<length])) }
        }
    }

    @Test(
        "is refused where it is something else",
        arguments: [
            "", "{}", "<value><struct></struct></value>", "<value></struct>", "<!DOCTYPE a [<!ENTITY b 'c'>]><value/>",
            "<value>&b;</value>", "<value>&amp</value>", "<>", "<value",
            String(repeating: "<value><array><data>", count: 40),
            "<value><struct><member><name>objects</name><value><array><data><value><struct><member><name>class</name>"
                + "<value>VDI</value></member></struct></value></data></array></value></member></struct></value>",
        ])
    func bad(_ text: String) {
        #expect(throws: FormatError.self) { try XVADescription(parsing: Array(text.utf8)) }
    }
}

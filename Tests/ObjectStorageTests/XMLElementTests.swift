import BackupFormats
import CairnTestSupport
import ObjectStorage
import Testing

@Suite("An answer in XML")
struct XMLElementTests {
    private func parse(_ text: String) throws -> XMLElement { try XMLElement(parsing: Array(text.utf8)) }

    @Test("is read with its children, text and entities; names lose their prefix")
    func reads() throws {
        let document = try parse(
            """
            \u{feff}<?xml version="1.0" encoding="UTF-8"?>
            <!-- a comment -->
            <s3:List xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/" a='>'><Key>a &amp; b&#x20ac;&#10;<![CDATA[<&>]]>\
            </Key ><Empty/><Key>2</Key><!-- < --></s3:List>
            """)
        #expect(document.name == "List")
        #expect(document.all("Key").map { $0.text } == ["a & b€\n<&>", "2"])
        #expect(document["Empty"] == XMLElement(name: "Empty"))
        #expect(document["None"] == nil)
    }

    @Test("reads back what it wrote, whatever is in it")
    func roundTrip() throws {
        let text = "<a>&\"' \r\n\t é€😀 ]]> &lt;"
        let element = XMLElement(
            name: "Delete", children: [XMLElement(name: "Key", text: text), XMLElement(name: "Quiet", text: "true")])
        #expect(try parse(element.document) == element)
    }

    @Test(
        "is refused where it is no plain document",
        arguments: [
            "", "text", "<a>", "<a></b>", "<a></a><b/>", "<a", "<a b></a>", "<a b=c></a>", "<a>&unknown;</a>",
            "<a>&#xd800;</a>", "<a>&amp</a>", "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
            "<a><!ELEMENT b></a>", "< a></a>", "<a></a", "<a>&#;</a>", "<a>&#x;</a>",
            String(repeating: "<a>", count: 100) + String(repeating: "</a>", count: 100),
        ])
    func refuses(_ text: String) {
        #expect(throws: BackupFailure.self) { try parse(text) }
    }

    @Test("never crashes on damage")
    func damage() {
        let seed = UInt64.random(in: 0...(.max))
        var random = SeededRandom(seed: seed)
        let whole = Array("<?xml version=\"1.0\"?><a x='1'><b>&amp;&#65;</b><![CDATA[c]]><!-- d --><e/></a>".utf8)
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
            _ = try? XMLElement(parsing: bytes)
        }
    }
}

/// The character rule that datastore names, backup ids, archive names, token
/// names and namespace components share: the first character is a letter, a
/// digit or `_`; the following may also be `.` and `-`. (Spec: formats §4.4, §9.2.)
package enum SafeID {
    package static func isValid(_ text: some StringProtocol) -> Bool {
        var isFirst = true
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                break
            case UInt8(ascii: "."), UInt8(ascii: "-"):
                if isFirst { return false }
            default:
                return false
            }
            isFirst = false
        }
        return !isFirst
    }
}

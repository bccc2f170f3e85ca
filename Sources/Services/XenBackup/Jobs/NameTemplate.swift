package import BackupFormats

/// How snapshots are called: text in which `{job.name}` stands for a member of the job and `{vm.name_label}` for one of
/// the machine; what is unknown stays as it is, `\` takes the special meaning from the next character.
/// (Spec: xo-proxy §5.4, `snapshotNameLabelTpl`.)
package struct NameTemplate: Sendable, Equatable {
    package static let standard = NameTemplate("[XO Backup {job.name}] {vm.name_label}")
    /// Longer names are cut.
    package static let lengthLimit = 1024

    private let text: String

    package init(_ text: String) { self.text = text }

    package func fill(job: JSONObject, vm: JSONObject) -> String {
        var result = ""
        var rest = Substring(text)
        while let character = rest.popFirst() {
            switch character {
            case "\\": if let next = rest.popFirst() { result.append(next) }
            case "{":
                guard let end = rest.firstIndex(of: "}"), let value = value(rest[..<end], job: job, vm: vm) else {
                    result.append("{")
                    continue
                }
                result += value
                rest = rest[rest.index(after: end)...]
            default: result.append(character)
            }
        }
        return String(result.prefix(Self.lengthLimit))
    }

    private func value(_ name: Substring, job: JSONObject, vm: JSONObject) -> String? {
        guard let dot = name.firstIndex(of: ".") else { return nil }
        let member = String(name[name.index(after: dot)...])
        let value: JSONValue? =
            switch name[..<dot] {
            case "job": job[member]
            case "vm": vm[member]
            default: nil
            }
        switch value {
        case .string(let text): return text
        case .number(let literal): return literal
        default: return nil
        }
    }
}

package import BackupFormats

/// The ids that a job names in `remotes`, `srs`, `pools` and, as a rule, `vms`. (Spec: xo-proxy §5.2.)
package enum SimpleIDPattern {
    /// The ids in the order given, each once: none for an absent pattern, one for `{ id: "x" }`, those listed for
    /// `{ id: { __or: ["x", "y"] } }`.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`, summary `invalid pattern`, for anything else.
    package static func ids(of pattern: JSONValue?) throws -> [String] {
        guard let pattern else { return [] }
        guard let members = pattern.objectValue?.members, members.count == 1, members[0].name == "id" else {
            throw invalid
        }
        if let id = members[0].value.stringValue { return [id] }
        guard let alternatives = members[0].value.objectValue?.members, alternatives.count == 1,
            alternatives[0].name == "__or", let items = alternatives[0].value.arrayValue
        else { throw invalid }
        var seen: Set<String> = []
        return try items.compactMap { item in
            guard let id = item.stringValue else { throw invalid }
            return seen.insert(id).inserted ? id : nil
        }
    }

    private static var invalid: BackupFailure { BackupFailure(.invalidInput, "invalid pattern") }
}

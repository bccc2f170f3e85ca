package import BackupFormats

/// One checked value.
package enum ParameterValue: Sendable, Equatable {
    case string(String)
    case integer(Int64)
    case boolean(Bool)
    case number(Double)
    case array([ParameterValue])
    case json(JSONValue)
}

/// The checked parameters of a call.
///
/// The getters without `IfPresent` are for parameters that the schema requires; they throw as for a missing one.
package struct ParameterValues: Sendable, Equatable {
    private var values: [String: ParameterValue]

    init(_ values: [String: ParameterValue]) { self.values = values }

    package subscript(_ name: String) -> ParameterValue? { values[name] }
    package func contains(_ name: String) -> Bool { values[name] != nil }
    package var names: [String] { values.keys.sorted() }

    package func stringIfPresent(_ name: String) -> String? {
        if case .string(let text)? = values[name] { text } else { nil }
    }

    package func integerIfPresent(_ name: String) -> Int64? {
        if case .integer(let number)? = values[name] { number } else { nil }
    }

    package func booleanIfPresent(_ name: String) -> Bool? {
        if case .boolean(let value)? = values[name] { value } else { nil }
    }

    package func numberIfPresent(_ name: String) -> Double? {
        if case .number(let value)? = values[name] { value } else { nil }
    }

    package func jsonIfPresent(_ name: String) -> JSONValue? {
        if case .json(let value)? = values[name] { value } else { nil }
    }

    package func arrayIfPresent(_ name: String) -> [ParameterValue]? {
        if case .array(let items)? = values[name] { items } else { nil }
    }

    package func string(_ name: String) throws(ParameterFailure) -> String {
        guard let text = stringIfPresent(name) else { throw Self.missing(name) }
        return text
    }

    package func integer(_ name: String) throws(ParameterFailure) -> Int64 {
        guard let number = integerIfPresent(name) else { throw Self.missing(name) }
        return number
    }

    package func boolean(_ name: String) throws(ParameterFailure) -> Bool {
        guard let value = booleanIfPresent(name) else { throw Self.missing(name) }
        return value
    }

    /// The texts of a list; empty where it is absent.
    package func strings(_ name: String) -> [String] {
        (arrayIfPresent(name) ?? []).compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    /// The numbers of a list; empty where it is absent.
    package func integers(_ name: String) -> [Int64] {
        (arrayIfPresent(name) ?? []).compactMap { if case .integer(let number) = $0 { number } else { nil } }
    }

    private static func missing(_ name: String) -> ParameterFailure {
        ParameterFailure(name: name, reason: "parameter is missing and it is not optional.")
    }
}

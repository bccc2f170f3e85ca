package import BackupFormats
package import BackupProtocol

/// One parameter of an endpoint: what is checked, and what the reference page says about it.
package struct EndpointParameter: Sendable {
    package var name: String
    package var type: ParameterType
    package var summary: String
    package var isOptional = false
    /// What is taken where it is absent.
    package var assumed: JSONValue?
    /// The form of a text whose pattern is code.
    package var form: String?
    /// The same for programs: a regular expression (ECMA-262) that takes no text that the code refuses, where there is
    /// one.
    package var expression: String?

    package init(
        _ name: String, _ type: ParameterType, _ summary: String, form: String? = nil, expression: String? = nil
    ) {
        self.name = name
        self.type = type
        self.summary = summary
        self.form = form
        self.expression = expression
    }

    package var parameter: Parameter { isOptional ? .optional(name, type) : .required(name, type) }

    /// The same parameter, which may be left out; `assumed` is then taken.
    package func optional(_ assumed: JSONValue? = nil) -> EndpointParameter {
        var copy = self
        copy.isOptional = true
        copy.assumed = assumed
        return copy
    }
}

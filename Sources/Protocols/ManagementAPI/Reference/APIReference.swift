import BackupFormats
import BackupProtocol

/// The reference page of the REST API, made from the endpoint descriptions.
package enum APIReference {
    /// `docs/reference/api.md` as Markdown.
    package static var page: String {
        let built = Endpoint.all.filter(\.isBuilt)
        let paths = built.reduce(into: [String]()) { if !$0.contains($1.path) { $0.append($1.path) } }
        var text = """
            # REST API

            Made from the endpoint descriptions in `ManagementAPI`; do not edit. Paths are below `/api2/json` or
            `/api2/extjs`. How requests and answers look in general: [rest.md](../protocols/rest.md).


            """
        for path in paths {
            text += "## `\(path)`\n\n"
            for endpoint in built where endpoint.path == path { text += section(endpoint) }
        }
        text += "## Not built\n\nThese are known by name and answered with 501.\n\n"
        for endpoint in Endpoint.all where !endpoint.isBuilt { text += "- `\(endpoint.name)`\n" }
        return text
    }

    private static func section(_ endpoint: Endpoint) -> String {
        var text = "### \(endpoint.method.rawValue)\n\n\(endpoint.summary)\n\n- Access: \(endpoint.access.text)\n"
        text += "- Answer: \(endpoint.result)\n"
        if case .raw(let limit) = endpoint.body { text += "- Body: bytes, at most \(limit)\n" }
        if !endpoint.parameters.isEmpty {
            text += "\n| parameter | type | | meaning |\n|---|---|---|---|\n"
            for parameter in endpoint.parameters {
                text += "| `\(parameter.name)` | \(type(parameter)) | \(need(parameter)) | \(parameter.summary) |\n"
            }
        }
        return text + "\n"
    }

    private static func need(_ parameter: EndpointParameter) -> String {
        guard parameter.isOptional else { return "required" }
        return parameter.assumed.map { "default `\($0.compactText)`" } ?? "optional"
    }

    private static func type(_ parameter: EndpointParameter) -> String {
        let type = type(parameter.type)
        return parameter.form.map { "\(type): \($0)" } ?? type
    }

    private static func type(_ type: ParameterType) -> String {
        switch type {
        case .boolean: return "boolean"
        case .number: return "number"
        case .json: return "JSON"
        case .integer(let range):
            let upper = range.upperBound == .max ? "" : "\(range.upperBound)"
            return range.lowerBound == .min ? "integer" : "integer \(range.lowerBound)…\(upper)"
        case .string(let rule):
            return rule.words.map { $0.map { "`\($0)`" }.joined(separator: ", ") } ?? "text"
        case .array(let item): return "list of " + Self.type(item)
        }
    }
}

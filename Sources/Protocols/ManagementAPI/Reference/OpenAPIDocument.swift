package import BackupFormats
import BackupProtocol

/// The REST API as an OpenAPI 3.1 document, made from the endpoint descriptions.
package enum OpenAPIDocument {
    /// The document. Endpoints that are not built are listed under `x-not-built` only.
    ///
    /// - Parameter version: Version of this program.
    package static func make(version: String) -> JSONValue {
        var paths: JSONObject = [:]
        for endpoint in Endpoint.all where endpoint.isBuilt {
            var item = paths[endpoint.path]?.objectValue ?? [:]
            item[endpoint.method.rawValue.lowercased()] = operation(endpoint)
            paths[endpoint.path] = .object(item)
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Cairn", "version": .string(version),
                "summary": "Management API of a backup server",
                "description":
                    "Compatible with the API of Proxmox Backup Server. Answers are wrapped in {\"data\": …}; refusals are a status and a plain text. Below /api2/extjs the same calls answer 200 with `success`.",
            ],
            "servers": [["url": "/api2/json"]],
            "components": ["securitySchemes": securitySchemes],
            "paths": .object(paths),
            "x-not-built": .array(Endpoint.all.filter { !$0.isBuilt }.map { .string($0.name) }),
        ]
    }

    private static let securitySchemes: JSONValue = [
        "token": [
            "type": "apiKey", "in": "header", "name": "Authorization",
            "description": "PBSAPIToken=<user@realm!token>:<secret>",
        ],
        "ticket": [
            "type": "apiKey", "in": "cookie", "name": "PBSAuthCookie", "description": "Ticket of POST /access/ticket",
        ],
        "csrf": [
            "type": "apiKey", "in": "header", "name": "CSRFPreventionToken",
            "description": "With a ticket, for every method but GET; CSRFPreventionToken of POST /access/ticket",
        ],
    ]

    private static func operation(_ endpoint: Endpoint) -> JSONValue {
        var object: JSONObject = [
            "operationId": .string(operationID(endpoint)), "summary": .string(endpoint.summary),
            "description": .string("Access: \(endpoint.access.text)."),
            "tags": [.string(endpoint.path.split(separator: "/").first.map(String.init) ?? "")],
        ]
        object["security"] = .array(security(endpoint))
        let inPath = endpoint.parameters.filter { endpoint.path.contains("{\($0.name)}") }
        let others = endpoint.parameters.filter { !endpoint.path.contains("{\($0.name)}") }
        let isForm = endpoint.body == .parameters && (endpoint.method == .post || endpoint.method == .put)
        var parameters = inPath.map { parameter($0, at: "path") }
        if !isForm { parameters += others.map { parameter($0, at: "query") } }
        if !parameters.isEmpty { object["parameters"] = .array(parameters) }
        if case .raw(let limit) = endpoint.body {
            object["requestBody"] = [
                "required": true, "description": .string("At most \(limit) bytes."),
                "content": ["application/octet-stream": ["schema": ["type": "string", "format": "binary"]]],
            ]
        } else if isForm, !others.isEmpty {
            object["requestBody"] = body(others)
        }
        object["responses"] = responses(endpoint)
        return .object(object)
    }

    /// `GET /admin/datastore/{store}/files` is `get_admin_datastore_store_files`.
    private static func operationID(_ endpoint: Endpoint) -> String {
        let parts = endpoint.path.split { "/{}".contains($0) }
        return ([endpoint.method.rawValue.lowercased()] + parts.map { String($0).replacing("-", with: "_") })
            .joined(separator: "_")
    }

    private static func security(_ endpoint: Endpoint) -> [JSONValue] {
        guard endpoint.access != .world else { return [] }
        return [["token": []], endpoint.method == .get ? ["ticket": []] : ["ticket": [], "csrf": []]]
    }

    private static func parameter(_ parameter: EndpointParameter, at place: String) -> JSONValue {
        var object: JSONObject = [
            "name": .string(parameter.name), "in": .string(place), "description": .string(parameter.summary),
            "required": .bool(place == "path" || !parameter.isOptional), "schema": schema(parameter),
        ]
        if case .array = parameter.type {
            object["style"] = "form"
            object["explode"] = true
        }
        return .object(object)
    }

    private static func body(_ parameters: [EndpointParameter]) -> JSONValue {
        var properties: JSONObject = [:]
        for parameter in parameters {
            var described = schema(parameter).objectValue ?? [:]
            described["description"] = .string(parameter.summary)
            properties[parameter.name] = .object(described)
        }
        let required = parameters.filter { !$0.isOptional }.map { JSONValue.string($0.name) }
        var object: JSONObject = ["type": "object", "properties": .object(properties), "additionalProperties": false]
        if !required.isEmpty { object["required"] = .array(required) }
        let content: JSONValue = ["schema": .object(object)]
        return [
            "required": .bool(!required.isEmpty),
            "content": ["application/json": content, "application/x-www-form-urlencoded": content],
        ]
    }

    private static func schema(_ parameter: EndpointParameter) -> JSONValue {
        var object = schema(parameter.type).objectValue ?? [:]
        object["pattern"] = parameter.expression.map { .string($0) }
        object["default"] = parameter.assumed
        return .object(object)
    }

    private static func schema(_ type: ParameterType) -> JSONValue {
        switch type {
        case .boolean: return ["type": "boolean"]
        case .number: return ["type": "number"]
        case .json: return [:]
        case .array(let item): return ["type": "array", "items": schema(item)]
        case .integer(let range):
            var object: JSONObject = ["type": "integer"]
            if range.lowerBound != .min { object["minimum"] = .integer(range.lowerBound) }
            if range.upperBound != .max { object["maximum"] = .integer(range.upperBound) }
            return .object(object)
        case .string(let rule):
            var object: JSONObject = ["type": "string"]
            if let words = rule.words { object["enum"] = .array(words.map { .string($0) }) }
            if rule.lengths.lowerBound > 0 { object["minLength"] = .integer(rule.lengths.lowerBound) }
            if rule.lengths.upperBound < .max { object["maxLength"] = .integer(rule.lengths.upperBound) }
            return .object(object)
        }
    }

    private static func responses(_ endpoint: Endpoint) -> JSONValue {
        let refusal: JSONValue = ["description": "Refused; the body is a text that says why."]
        var object: JSONObject = [:]
        if endpoint.result.hasPrefix("101") {
            object["101"] = ["description": .string(endpoint.result)]
        } else {
            object["200"] = ["description": .string(endpoint.result), "content": content(endpoint)]
        }
        object["default"] = refusal
        return .object(object)
    }

    private static func content(_ endpoint: Endpoint) -> JSONValue {
        guard endpoint.result != "bytes" else {
            return ["application/octet-stream": ["schema": ["type": "string", "format": "binary"]]]
        }
        // This document is not wrapped as other answers are.
        guard endpoint.path != "/openapi.json" else { return ["application/json": ["schema": ["type": "object"]]] }
        var properties: JSONObject = ["data": ResultShape.schema(of: endpoint.result)]
        // Lists and reads of configuration bring the digest that a later change may name.
        if endpoint.result.contains("`digest`") { properties["digest"] = ["type": "string"] }
        if endpoint.result.contains("`total`") { properties["total"] = ["type": "integer"] }
        return [
            "application/json": [
                "schema": ["type": "object", "properties": .object(properties), "required": ["data"]]
            ]
        ]
    }
}

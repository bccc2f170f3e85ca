import BackupFormats
import Platform

extension Methods {
    static let system: [Method] = [
        Method(
            name: "system.listMethods", description: "Names of all methods.", parameters: .none,
            result: ResultForm.list(of: "string")
        ) { _, _ in .list(all.map { .string($0.name) }.sorted { $0.stringValue ?? "" < $1.stringValue ?? "" }) },
        Method(
            name: "system.getMethodsInfo", description: "Name, description and parameters of each method.",
            parameters: .none, result: ResultForm.list(of: "object")
        ) { _, _ in
            .list(
                all.map { method in
                    [
                        "name": .string(method.name), "description": .string(method.description),
                        "params": .object(method.parameters.json),
                    ]
                })
        },
        Method(
            name: "system.methodSignature", description: "Parameters and result of one method.",
            parameters: [.optional("name", .string()), .optional("method", .string())], result: ResultForm.object
        ) { parameters, _ in
            guard let name = (parameters["name"] ?? parameters["method"])?.stringValue else {
                throw RPCFailure.invalidParameters([.missing("name")])
            }
            guard let method = try? named(name) else { throw RPCFailure.noSuchObject("method", name) }
            return .value([
                "name": .string(method.name), "description": .string(method.description),
                "params": .object(method.parameters.json), "result": .object(method.result),
            ])
        },
        Method(
            name: "system.getServerVersion", description: "The version of this server.", parameters: .none,
            result: ResultForm.text
        ) { _, _ in .value(.string(CairnVersion.text)) },
        Method(
            name: "authentication.setToken", description: "Replaces the token that callers show.",
            parameters: [.required("token", .string(minLength: 1))], result: ResultForm.done
        ) { parameters, services in
            let token = parameters["token"]?.stringValue ?? ""
            guard TokenStore.isUsable(token) else {
                let reason = "must have at most \(TokenStore.maxLength) bytes and no control characters or outer blanks"
                throw RPCFailure.invalidParameters([Violation(path: "/token", keyword: "format", reason)])
            }
            try await services.workers.run { try services.tokens.set(token) }
            return .done
        },
    ]

    static let appliance: [Method] = [
        Method(
            name: "appliance.getInfo", description: "The operating system of this machine.", parameters: .none,
            result: ResultForm.object
        ) { _, services in
            .value(.object(try await services.workers.run { try OperatingSystem.description() }))
        },
        Method(
            name: "appliance.updater.getState",
            description: "Says that there is nothing to update: this server is updated by its administrator.",
            parameters: .none, result: ResultForm.object
        ) { _, _ in .value(["state": "xoa-up-to-date"]) },
    ]

    static let tests: [Method] = [
        Method(
            name: "test.range", description: "Counts from start to stop, stop excluded.",
            parameters: [
                .optional("start", .number(), 0), .required("stop", .number()), .optional("step", .number()),
            ],
            result: ResultForm.list(of: "number")
        ) { parameters, _ in
            let range = try NumberRange(parameters)
            return .list { range.next() }
        },
        Method(
            name: "test.throw", description: "Fails with the message.",
            parameters: [.required("message", .string())], result: [:]
        ) { parameters, _ in throw RPCFailure.other(parameters["message"]?.stringValue ?? "") },
    ]
}

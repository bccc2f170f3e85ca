package import BackupFormats

/// One line in the life of a tree of tasks, in the order in which it happened. (Spec: xo-proxy §1.9.)
package struct TaskEvent: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// `parent` is nil for the root.
        case start(parent: String?, name: String, properties: JSONObject)
        case property(name: String, value: JSONValue)
        case info(message: String, data: JSONValue?)
        case warning(message: String, data: JSONValue?)
        case abortionRequested(reason: String)
        case end(isSuccess: Bool, result: JSONValue?)
    }

    /// The task it is about.
    package let taskID: String
    /// Unix milliseconds.
    package let time: Int64
    package let kind: Kind

    package init(taskID: String, time: Int64, kind: Kind) {
        self.taskID = taskID
        self.time = time
        self.kind = kind
    }
}

extension TaskEvent {
    /// The properties of a task as readers see them: its name in front.
    package static func properties(_ name: String, _ properties: JSONObject) -> JSONObject {
        JSONObject([.init(name: "name", value: .string(name))] + properties.members.filter { $0.name != "name" })
    }

    /// What older readers know as `data`: the properties without the name; of a metadata restore, the metadata.
    package static func data(_ name: String, _ properties: JSONObject) -> JSONValue {
        if name == "metadataRestore", let metadata = properties["metadata"] { return metadata }
        return .object(JSONObject(properties.members.filter { $0.name != "name" }))
    }
}

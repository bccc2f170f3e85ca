package import AccessControl
package import BackupFormats
import BackupProtocol
package import StateDatabase
import Tasks

/// Reading and changing the configuration of jobs. All calls block. (Spec: rest E.5.)
extension JobService {
    /// Jobs as somebody may see them, and the digest of their section.
    package struct Listing: Sendable {
        package var jobs: [(name: String, job: Job)]
        package var digest: String
    }

    package func listing(of section: JobSection, for caller: Identity, _ access: AccessControl) throws -> Listing {
        let (entries, digest) = try database.read { state in
            (try state.entries(section.config), try state.digest(of: section.config))
        }
        let jobs = entries.map { ($0.id, Job(id: .configured(section, $0.id), properties: $0.properties)) }
        return Listing(
            jobs: jobs.filter { JobRights.maySee($0.1, caller.authID, access) }.map { (name: $0.0, job: $0.1) },
            digest: digest)
    }

    /// - Throws: ``BackupFailure``: `notFound`, `notAuthorized`.
    package func listing(
        of section: JobSection, _ name: String, for caller: Identity, _ access: AccessControl
    ) throws -> Listing {
        let job = try job(.configured(section, name))
        try JobRights.requireSight(of: job, caller, access)
        return Listing(jobs: [(name, job)], digest: try database.read { try $0.digest(of: section.config) })
    }

    /// - Throws: ``ParameterFailure`` for properties that are wrong or a name that is taken; ``BackupFailure``:
    ///   `noSuchObject` for a datastore or remote that does not exist, `notAuthorized`.
    package func add(
        _ name: String, to section: JobSection, _ properties: JSONObject, by caller: Identity, _ access: AccessControl
    ) throws {
        let job = Job(id: .configured(section, name), properties: properties)
        try JobRights.requireChange(of: job, caller, access)
        try check(job)
        try database.write { state in
            guard try state.entry(section.config, name) == nil else {
                throw ParameterFailure(name: "id", reason: "job '\(name)' already exists.")
            }
            try requireReferences(of: job, state)
            try state.removeJobState(job.id.text)
            try state.put(ConfigEntry(id: name, properties: properties), in: section.config)
        }
        try runDue(isStarting: false)
    }

    /// - Parameters:
    ///   - settings: New values by name.
    ///   - removed: Names of settings that go.
    ///   - digest: The digest that the caller saw, if it cares.
    package func update(
        _ name: String, in section: JobSection, settings: JSONObject, removed: [String], digest: String?,
        by caller: Identity, _ access: AccessControl
    ) throws {
        try database.write { state in
            guard let old = try state.entry(section.config, name) else { throw Self.missing(section, name) }
            try JobRights.requireChange(
                of: Job(id: .configured(section, name), properties: old.properties), caller, access)
            try state.requireDigest(digest, of: section.config)
            var properties = old.properties
            for key in removed { properties[key] = nil }
            for member in settings.members { properties[member.name] = member.value }
            let job = Job(id: .configured(section, name), properties: properties)
            try JobRights.requireChange(of: job, caller, access)
            try check(job)
            try requireReferences(of: job, state)
            try state.put(ConfigEntry(id: name, properties: properties), in: section.config)
        }
        try runDue(isStarting: false)
    }

    package func remove(
        _ name: String, from section: JobSection, digest: String?, by caller: Identity, _ access: AccessControl
    ) throws {
        try database.write { state in
            guard let old = try state.entry(section.config, name) else {
                throw BackupFailure(.notFound, "job '\(name)' does not exist.")
            }
            let job = Job(id: .configured(section, name), properties: old.properties)
            try JobRights.requireChange(of: job, caller, access)
            try state.requireDigest(digest, of: section.config)
            try state.remove(name, from: section.config)
            try state.removeJobState(job.id.text)
        }
    }

    /// Starts a job for somebody who may run it.
    package func start(
        _ section: JobSection, _ name: String, by caller: Identity, _ access: AccessControl
    ) throws -> UPID {
        let job = try job(.configured(section, name))
        try JobRights.requireChange(of: job, caller, access)
        return try start(job.id, by: caller.authID)
    }

    private func check(_ job: Job) throws {
        if let schedule = job.schedule {
            do { _ = try CalendarEvent(parsing: schedule) } catch {
                throw ParameterFailure(name: "schedule", reason: "\(error)")
            }
        }
        let depth = job.number("max-depth") ?? 0
        guard job.namespace.depth + Int(depth) <= Namespace.maxDepth else {
            throw ParameterFailure(
                name: "max-depth",
                reason:
                    "namespace and depth together exceed \(Namespace.maxDepth) levels (got \(job.namespace.depth) + \(depth))"
            )
        }
        if case .configured(.sync, _) = job.id {
            do { try work.checkSync(job.properties) } catch let failure as BackupFailure {
                throw ParameterFailure(unreadable: failure.description)
            }
        }
    }

    private func requireReferences(of job: Job, _ state: StateReader) throws {
        guard try state.datastore(job.store) != nil else {
            throw BackupFailure(.noSuchObject, "no such datastore '\(job.store)'")
        }
        guard case .configured(.sync, _) = job.id else { return }
        if let remote = job.text("remote") {
            guard try state.entry(.remote, remote) != nil else {
                throw BackupFailure(.noSuchObject, "no such remote '\(remote)'")
            }
        } else if let source = job.text("remote-store"), try state.datastore(source) == nil {
            throw BackupFailure(.noSuchObject, "no such datastore '\(source)'")
        }
    }
}

extension StateWriter {
    /// Removes the jobs that work on a datastore.
    package func removeJobs(of store: String) throws {
        for section in JobSection.allCases {
            for entry in try entries(section.config) where entry.properties["store"]?.stringValue == store {
                try remove(entry.id, from: section.config)
                try removeJobState(JobID.configured(section, entry.id).text)
            }
        }
    }
}

import BackupFormats
import BackupProtocol
import BackupServer
import BlobCoding
import Datastore
import ManagementAPI

/// Files of snapshots, as stored and decoded.
extension Routes {
    static let files: [String: EndpointAction] = [
        "GET \(store)/download": { try await download($0, isDecoded: false) },
        "GET \(store)/download-decoded": { try await download($0, isDecoded: true) },
    ]

    private static func download(_ call: Call, isDecoded: Bool) async throws -> EndpointResult {
        let (place, grant) = try content(call)
        let snapshot = try call.values.snapshot()
        guard let name = ArchiveName(try call.values.string("file-name")) else {
            throw ParameterFailure(name: "file-name", reason: "value does not match the regex pattern")
        }
        let workers = call.services.workers
        let body = try await call.blocking { () throws -> BackupResponse.Body in
            let (store, reader) = try call.services.content.openReader(
                snapshot, in: place, purpose: "download of \(name)", by: grant)
            do {
                guard name.kind != .blob else {
                    let blob = try reader.blob(name)
                    reader.close()
                    return .bytes(isDecoded ? try BlobDecoder().decode(blob, limit: BlobLimits.maxContent) : blob)
                }
                let index = try reader.openIndex(name)
                guard isDecoded else {
                    return .stream(StoredFileSource(index.file, of: reader, workers: workers), length: index.byteCount)
                }
                try refuseEncrypted(name, reader)
                return .stream(
                    DecodedIndexSource(index, chunks: store.chunks, of: reader, workers: workers),
                    length: Int(exactly: index.logicalSize))
            } catch let failure as BackupFailure where failure.kind == .notFound {
                reader.close()
                // A missing blob is 404 inside a session, and 400 here.
                throw BackupFailure(.noSuchObject, failure.summary, cause: failure.cause)
            } catch {
                reader.close()
                throw error
            }
        }
        return .whole(
            RESTResponse(status: 200, headers: [("content-type", BackupResponse.octetStream)], body: body))
    }

    private static func refuseEncrypted(
        _ name: ArchiveName, _ reader: SnapshotReader
    ) throws {
        guard try reader.manifest().file(name)?.cryptMode != .encrypt else {
            throw BackupFailure(
                .invalidInput, "\(name) is encrypted",
                hints: ["Restore it with the client, which has the key."])
        }
    }
}

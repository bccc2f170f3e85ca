package import BackupFormats
import Platform
import Tasks

/// Writes and reads 10 MiB, as `remote.test` shows it. (Spec: xo-proxy §4.4.)
package enum RemoteTester {
    private static let byteCount = 10 << 20

    /// - Returns: `{ success, writeRate, readRate }` in bytes per second, or `{ success: false, step, file, error }`.
    ///   No file stays.
    package static func test(_ files: any RemoteFiles, time: TimeSource) async -> JSONObject {
        let name = "\(time.nanoseconds() / 1_000_000).test"
        let result = await run(files, name)
        // Also where the caller was cancelled.
        await Task { try? await files.remove(name) }.value
        return result
    }

    private static func run(_ files: any RemoteFiles, _ name: String) async -> JSONObject {
        let clock = ContinuousClock()
        var step = "write"
        do {
            let bytes = try SystemRandom.bytes(byteCount)
            let writing = try await clock.measure { try await files.write(name, bytes, .new) }
            step = "read"
            var isSame = false
            let reading = try await clock.measure { isSame = try await files.read(name, limit: byteCount) == bytes }
            guard isSame else {
                throw BackupFailure(.corruptData, "What was read is not what was written")
            }
            return ["success": true, "writeRate": rate(writing), "readRate": rate(reading)]
        } catch {
            return [
                "success": false, "step": .string(step), "file": .string(name), "error": TaskFailure.json(error),
            ]
        }
    }

    private static func rate(_ duration: Duration) -> JSONValue {
        let (seconds, attoseconds) = duration.components
        let time = max(1e-9, Double(seconds) + Double(attoseconds) / 1e18)
        return .integer(Int64(Double(byteCount) / time))
    }
}

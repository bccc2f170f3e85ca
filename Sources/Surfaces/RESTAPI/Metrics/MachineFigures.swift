import BackupFormats

/// The machine's figures for the history of metrics.
package enum MachineFigures {
    private static let meter = MachineStatus.ProcessorMeter()

    /// By their names in the API; shares of processor time are those since the last call. Blocks for a moment.
    package static func read() -> [String: Double] {
        let status = JSONValue.object(MachineStatus.read(meter))
        let places: [(name: String, value: JSONValue?)] = [
            ("cpu", status["cpu"]), ("iowait", status["wait"]), ("loadavg", status["loadavg"]?.arrayValue?.first),
            ("memtotal", status["memory"]?["total"]), ("memused", status["memory"]?["used"]),
            ("swaptotal", status["swap"]?["total"]), ("swapused", status["swap"]?["used"]),
            ("total", status["root"]?["total"]), ("used", status["root"]?["used"]),
            ("available", status["root"]?["avail"]),
        ]
        return places.reduce(into: [:]) { $0[$1.name] = $1.value?.doubleValue }
    }
}

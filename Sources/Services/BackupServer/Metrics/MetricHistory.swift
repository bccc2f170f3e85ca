package import BackupFormats
import Datastore
import Platform
package import Logging
package import StateDatabase

/// How the machine and the datastores did over the last ten years: measured each minute, remembered ever more coarsely.
/// All calls block. (Spec: rest E.4, E.7, E.8.)
package struct MetricHistory: Sendable {
    /// Points in the last month without which nothing is said about the future.
    private static let minPoints = 7
    /// Nothing is foretold beyond.
    private static let farFuture: Int64 = 100 * 366 * 86400

    private let database: StateDatabase
    private let stores: DatastoreRegistry
    private let time: TimeSource
    private let log: Logger
    /// Figures of the machine by their names in the API.
    private let machine: @Sendable () -> [String: Double]

    package init(
        database: StateDatabase, stores: DatastoreRegistry, time: TimeSource, log: Logger,
        machine: @escaping @Sendable () -> [String: Double]
    ) {
        self.database = database
        self.stores = stores
        self.time = time
        self.log = log
        self.machine = machine
    }

    package static let hostFigures = [
        "cpu", "iowait", "loadavg", "memtotal", "memused", "swaptotal", "swapused", "total", "used", "available",
    ]
    package static let storeFigures = ["total", "used", "available"]

    package static func host(_ figure: String) -> String { "host/\(figure)" }
    package static func store(_ name: String, _ figure: String) -> String { "datastore/\(name)/\(figure)" }

    /// Measures everything once.
    package func record() throws {
        let now = time.seconds
        var values = machine().map { (Self.host($0.key), $0.value) }
        for record in stores.records {
            do {
                let space = try stores.datastore(record.name, for: .read).usage()
                for (name, value) in zip(Self.storeFigures, [space.total, space.used, space.available]) {
                    values.append((Self.store(record.name, name), Double(value)))
                }
            } catch {
                log.debug("datastore not measured", metadata: ["datastore": "\(record.name)", "reason": "\(error)"])
            }
        }
        try database.write { [values] state in
            for (series, value) in values where value.isFinite {
                for (step, length) in TimeFrame.kept {
                    try state.addSample(value, to: series, at: now, step: step, keep: length)
                }
            }
        }
    }

    /// One row for each step of the frame, oldest first; figures of which nothing is known are left out of a row.
    ///
    /// - Parameter figures: Names to show and the series they come from.
    package func rows(
        of figures: [(name: String, series: String)], _ frame: TimeFrame, _ consolidation: Consolidation
    ) throws -> [JSONObject] {
        let end = time.seconds - time.seconds % frame.step
        let start = end - frame.length + frame.step
        let columns = try database.read { state in
            try figures.map { figure in
                (figure.name, try state.samples(of: figure.series, step: frame.step, since: start))
            }
        }
        var rows = stride(from: start, through: end, by: Int64.Stride(frame.step)).map { time -> JSONObject in
            ["time": .integer(time)]
        }
        for (name, samples) in columns {
            for sample in samples {
                let index = Int((sample.time - start) / frame.step)
                guard rows.indices.contains(index) else { continue }
                let value = consolidation == .maximum ? sample.maximum : sample.average
                rows[index][name] = .number("\(value)")
            }
        }
        return rows
    }

    /// How full a datastore was in the last month, and when it will be full.
    package struct Usage: Sendable {
        /// Part of the whole, 0 to 1; nil where nothing is known.
        package var values: [Double?]
        package var start: Int64
        package var step: Int64
        /// Unix seconds; 0 where it does not grow; nil where too little is known.
        package var fullDate: Int64?
    }

    package func usage(of store: String) throws -> Usage {
        let frame = TimeFrame.month
        let end = time.seconds - time.seconds % frame.step
        let start = end - frame.length + frame.step
        let (used, total) = try database.read { state in
            let used = try state.samples(of: Self.store(store, "used"), step: frame.step, since: start)
            let total = try state.samples(of: Self.store(store, "total"), step: frame.step, since: start)
            return (used, Dictionary(total.map { ($0.time, $0.average) }, uniquingKeysWith: { first, _ in first }))
        }
        var values = [Double?](repeating: nil, count: Int(frame.length / frame.step))
        var points: [(x: Double, y: Double)] = []
        for sample in used {
            let index = Int((sample.time - start) / frame.step)
            guard let total = total[sample.time], total > 0, values.indices.contains(index) else { continue }
            values[index] = sample.average / total
            points.append((Double(sample.time - end), sample.average / total))
        }
        return Usage(
            values: values, start: start, step: frame.step,
            fullDate: points.count < Self.minPoints ? nil : Self.fullDate(points, end))
    }

    /// Where the straight line through the points reaches 1.
    private static func fullDate(_ points: [(x: Double, y: Double)], _ end: Int64) -> Int64 {
        let count = Double(points.count)
        let (meanX, meanY) = (points.map(\.x).reduce(0, +) / count, points.map(\.y).reduce(0, +) / count)
        let spread = points.map { ($0.x - meanX) * ($0.x - meanX) }.reduce(0, +)
        let slope = points.map { ($0.x - meanX) * ($0.y - meanY) }.reduce(0, +) / spread
        guard slope.isFinite, slope > 0 else { return 0 }
        let seconds = (1 - meanY) / slope + meanX
        return seconds < Double(farFuture) ? end + Int64(seconds) : 0
    }

    /// The samples of each minute since a time, oldest first, at most those of the last half an hour.
    package func recent(_ series: String, since: Int64) throws -> [MetricSample] {
        try database.read { try $0.samples(of: series, step: 60, since: max(since, time.seconds - 1800)) }
    }
}

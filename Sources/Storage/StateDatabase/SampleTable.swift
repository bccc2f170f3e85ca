import GRDB

/// The average and the highest of what was measured in a stretch of time.
package struct MetricSample: Hashable, Sendable {
    /// Start of the stretch, Unix seconds; a multiple of its length.
    package var time: Int64
    package var average: Double
    package var maximum: Double

    package init(time: Int64, average: Double, maximum: Double) {
        self.time = time
        self.average = average
        self.maximum = maximum
    }
}

extension StateReader {
    /// The samples of a series in stretches of `step` seconds, oldest first.
    ///
    /// - Parameter series: For example `datastore/store1/used`.
    package func samples(of series: String, step: Int64, since: Int64) throws -> [MetricSample] {
        try Row.fetchAll(
            database,
            sql: "SELECT time, average, maximum FROM samples WHERE series = ? AND step = ? AND time >= ? ORDER BY time",
            arguments: [series, step, since]
        ).map { MetricSample(time: $0["time"], average: $0["average"], maximum: $0["maximum"]) }
    }
}

extension StateWriter {
    /// Adds a measurement to its stretch of `step` seconds, and removes what is older than `keep` seconds.
    package func addSample(_ value: Double, to series: String, at time: Int64, step: Int64, keep: Int64) throws {
        try database.execute(
            sql: """
                INSERT INTO samples (series, step, time, count, average, maximum) VALUES (?, ?, ?, 1, ?, ?)
                ON CONFLICT (series, step, time) DO UPDATE SET count = count + 1,
                    average = average + (excluded.average - average) / (count + 1),
                    maximum = max(maximum, excluded.maximum)
                """, arguments: [series, step, time - time % step, value, value])
        try database.execute(
            sql: "DELETE FROM samples WHERE series = ? AND step = ? AND time < ?",
            arguments: [series, step, time - keep])
    }

    /// Removes all series whose name begins so.
    package func removeSamples(of prefix: String) throws {
        try database.execute(
            sql: "DELETE FROM samples WHERE substr(series, 1, ?) = ?", arguments: [prefix.unicodeScalars.count, prefix])
    }
}

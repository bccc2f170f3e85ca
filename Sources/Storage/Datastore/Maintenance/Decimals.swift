/// Numbers with places behind the point, for logs.
package enum Decimals {
    private static let powers: [Double] = [1, 10, 100, 1000]

    /// `12.30`; at most three places. What is no finite number of sensible size reads `-`.
    package static func text(_ value: Double, _ places: Int) -> String {
        let power = powers[min(max(places, 0), powers.count - 1)]
        let scaled = (value * power).rounded()
        guard scaled.isFinite, abs(scaled) < 1e18 else { return "-" }
        let (whole, rest) = Int(abs(scaled)).quotientAndRemainder(dividingBy: Int(power))
        let sign = scaled < 0 ? "-" : ""
        guard power > 1 else { return "\(sign)\(whole)" }
        return "\(sign)\(whole)." + String("\(Int(power) + rest)".dropFirst())
    }

    package static func mebibytes(_ byteCount: Double) -> String { text(byteCount / 1_048_576, 2) }
}

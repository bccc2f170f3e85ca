import BackupFormats

/// Which paths a walk leaves out: patterns of the command line, then those of
/// the `.pxarexclude` files on the way down. The last one that matches decides.
struct ExcludeRules: Sendable {
    /// The file of patterns in a folder. It is archived like any other.
    static let fileName = Array(".pxarexclude".utf8)
    /// Where the patterns of the command line are kept in the archive's root.
    static let commandLineFileName = Array(".pxarexclude-cli".utf8)
    /// Bytes of a file of patterns at most.
    static let fileLimit = 1 << 20

    private struct Rule: Sendable {
        var pattern: PathPattern
        /// How many folders lie above the one that the rule was found in.
        var depth: Int
    }

    private var rules: [Rule] = []

    init(commandLine patterns: [PathPattern]) {
        rules = patterns.map { Rule(pattern: $0, depth: 0) }
    }

    var count: Int { rules.count }

    /// Drops the rules that came after the first `count`.
    mutating func restore(count: Int) {
        rules.removeLast(rules.count - count)
    }

    /// Adds the lines of a file of patterns in the folder `depth` below the root.
    ///
    /// - Returns: For each line that is no pattern, why.
    mutating func add(lines: [UInt8], depth: Int) -> [BackupFailure] {
        var failures: [BackupFailure] = []
        for line in lines.split(separator: UInt8(ascii: "\n")) {
            guard line.first != UInt8(ascii: "#"), line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d })
            else { continue }
            do throws(BackupFailure) {
                rules.append(Rule(pattern: try PathPattern(Array(line)), depth: depth))
            } catch {
                failures.append(error)
            }
        }
        return failures
    }

    /// Whether the entry at `path` is left out.
    ///
    /// A pattern with a leading slash counts from the root of the archive, also
    /// in a file further down; recorded archives show it so.
    func excludes(_ path: [[UInt8]], isFolder: Bool) -> Bool {
        for rule in rules.reversed() {
            let names = rule.pattern.isAnchored ? path[...] : path[rule.depth...]
            if rule.pattern.matches(names, isFolder: isFolder) { return !rule.pattern.isNegated }
        }
        return false
    }
}

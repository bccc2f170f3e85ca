/// The version of this program, as `cairn version`, `GET /version` and the user agent tell it.
package enum CairnVersion {
    package static let text = "0.1.0"
}

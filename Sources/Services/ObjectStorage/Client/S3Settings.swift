/// Where a bucket is and who may use it. Requests are path style: `https://host/bucket/key`.
package struct S3Settings: Hashable, Sendable {
    package var isTLS: Bool
    /// With a port where it is not the usual one.
    package var host: String
    package var bucket: String
    package var accessKey: String
    package var secretKey: String
    package var region: String
    /// Whether a certificate that nobody vouches for is good enough.
    package var allowsAnyCertificate: Bool

    package init(
        isTLS: Bool = true, host: String, bucket: String, accessKey: String, secretKey: String,
        region: String = "us-east-1", allowsAnyCertificate: Bool = false
    ) {
        self.isTLS = isTLS
        self.host = host
        self.bucket = bucket
        self.accessKey = accessKey
        self.secretKey = secretKey
        self.region = region
        self.allowsAnyCertificate = allowsAnyCertificate
    }

    /// Without secrets.
    package var display: String { "\(host)/\(bucket)" }
}

import BackupFormats
import Platform

/// The fields of an object that are taken over from its saved record, and what stands where the record lacks one that a
/// host demands. (Class reference of the Xen API; spec: xo-proxy §6.7.)
struct RestoreFields {
    /// Demanded, with the value for records without it.
    private let demanded: JSONObject
    private let optional: Set<String>
    /// Fields of a type for which hosts refuse a number without a point.
    private let fractions: Set<String>

    private init(demanded: JSONObject, optional: Set<String> = [], fractions: Set<String> = []) {
        self.demanded = demanded
        self.optional = optional
        self.fractions = fractions
    }

    func pick(from record: JSONObject) -> JSONObject {
        var result = demanded
        for member in record.members where !member.value.isNull {
            guard demanded[member.name] != nil || optional.contains(member.name) else { continue }
            result[member.name] = fractions.contains(member.name) ? Self.withPoint(member.value) : member.value
        }
        return result
    }

    private static func withPoint(_ value: JSONValue) -> JSONValue {
        guard case .number(let literal) = value, literal.allSatisfy({ $0.isNumber || $0 == "-" }) else { return value }
        return .number(literal + ".0")
    }

    // References to hosts, storages, appliances and policies are those of another time or pool: they are not taken over.
    static let machine = RestoreFields(
        demanded: [
            "name_label": "", "name_description": "", "user_version": 1, "is_a_template": false,
            "affinity": "OpaqueRef:NULL", "memory_static_max": 0, "memory_dynamic_max": 0, "memory_dynamic_min": 0,
            "memory_static_min": 0, "VCPUs_params": [:], "VCPUs_max": 1, "VCPUs_at_startup": 1,
            "actions_after_shutdown": "destroy", "actions_after_reboot": "restart", "actions_after_crash": "restart",
            "PV_bootloader": "", "PV_kernel": "", "PV_ramdisk": "", "PV_args": "", "PV_bootloader_args": "",
            "PV_legacy_args": "", "HVM_boot_policy": "", "HVM_boot_params": [:], "platform": [:], "PCI_bus": "",
            "other_config": [:], "recommendations": "",
        ],
        optional: [
            "HVM_shadow_multiplier", "xenstore_data", "tags", "start_delay", "shutdown_delay", "order", "version",
            "generation_id", "hardware_platform_version", "has_vendor_device", "domain_type", "NVRAM",
            "reference_label", "actions_after_softreboot", "last_boot_CPU_flags", "last_booted_record",
        ],
        fractions: ["HVM_shadow_multiplier"])

    static let disk = RestoreFields(
        demanded: ["type": "user", "sharable": false, "read_only": false, "other_config": [:]],
        optional: ["name_label", "name_description", "tags", "xenstore_data"])

    static let attachment = RestoreFields(
        demanded: [
            "userdevice": "autodetect", "bootable": false, "mode": "RW", "type": "Disk", "other_config": [:],
            "qos_algorithm_type": "", "qos_algorithm_params": [:],
        ],
        optional: ["unpluggable"])

    static let interface = RestoreFields(
        demanded: [
            "device": "0", "network": "OpaqueRef:NULL", "VM": "OpaqueRef:NULL", "MAC": "", "MTU": 1500,
            "other_config": [:], "qos_algorithm_type": "", "qos_algorithm_params": [:],
        ],
        optional: ["locking_mode", "ipv4_allowed", "ipv6_allowed"])

    /// Key in a machine's `other_config` from which a host makes addresses of interfaces.
    static let addressSeed = "mac_seed"

    /// A new seed, in the form of a UUID.
    static func freshSeed() throws -> String {
        let digits = Hex.encode(try SystemRandom.uuid())
        var parts: [Substring] = []
        var rest = digits[...]
        for count in [8, 4, 4, 4, 12] {
            parts.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return parts.joined(separator: "-")
    }

    /// Marks of backups that a restored object must not carry. (Spec: xo-proxy §5.7.)
    static func isRemoved(mark: String) -> Bool { mark != "xo:backup:sr" && BackupMarkKey.isMark(mark) }

    static func withoutMarks(_ otherConfig: JSONValue?) -> JSONObject {
        JSONObject((otherConfig?.objectValue ?? [:]).members.filter { !isRemoved(mark: $0.name) })
    }
}

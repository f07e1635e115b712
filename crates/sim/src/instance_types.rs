//! The instance types that `DescribeInstanceTypes` tells of. A launch takes any that reads like one.
//!
//! Source: the user guide's "Specifications for Amazon EC2 instance types", for the sizes that all families here have.

use crate::{
    ApiError, Filter, Page, Paging, Result, Tags, World,
    filters::{Fields, Filtered, Filters, no, none, one, yes},
    network::zone_id,
};

/// An instance type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    /// Its name: `m7i.large`.
    pub name: String,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// Its virtual processors.
    pub vcpus: u32,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Whether it earns credits while it is idle.
    pub burstable: bool,
}

/// The families of fixed performance: their name, architecture, and GiB of memory for each vCPU.
const FIXED: &[(&str, &str, u32)] = &[
    ("c5", "x86_64", 2),
    ("c6g", "arm64", 2),
    ("c6i", "x86_64", 2),
    ("c7g", "arm64", 2),
    ("c7i", "x86_64", 2),
    ("m5", "x86_64", 4),
    ("m6g", "arm64", 4),
    ("m6i", "x86_64", 4),
    ("m7g", "arm64", 4),
    ("m7i", "x86_64", 4),
    ("r5", "x86_64", 8),
    ("r6g", "arm64", 8),
    ("r6i", "x86_64", 8),
    ("r7g", "arm64", 8),
    ("r7i", "x86_64", 8),
];

/// Their sizes with the number of vCPUs. `c5` has others above these.
const SIZES: &[(&str, u32)] = &[("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16)];

/// The burstable families.
const BURSTABLE: &[(&str, &str)] = &[("t3", "x86_64"), ("t3a", "x86_64"), ("t4g", "arm64")];

/// Their sizes: vCPUs, and memory in MiB.
const BURSTABLE_SIZES: &[(&str, u32, u32)] = &[
    ("nano", 2, 512),
    ("micro", 2, 1024),
    ("small", 2, 2048),
    ("medium", 2, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16_384),
    ("2xlarge", 8, 32_768),
];

impl InstanceType {
    /// How its firmware can start a system.
    pub fn boot_modes(&self) -> &'static [&'static str] {
        if self.architecture == "arm64" { &["uefi"] } else { &["legacy-bios", "uefi"] }
    }

    /// Its cores: x86 has two threads on each.
    pub fn cores(&self) -> u32 {
        self.vcpus / self.threads_per_core()
    }

    /// The threads of each core.
    pub fn threads_per_core(&self) -> u32 {
        if self.architecture == "arm64" { 1 } else { 2 }
    }
}

/// Every type, by name.
fn all() -> Vec<InstanceType> {
    let fixed = FIXED.iter().flat_map(|(family, architecture, gib)| {
        SIZES.iter().map(move |(size, vcpus)| InstanceType {
            name: format!("{family}.{size}"),
            architecture,
            vcpus: *vcpus,
            memory_mib: vcpus * gib * 1024,
            burstable: false,
        })
    });
    let burstable = BURSTABLE.iter().flat_map(|(family, architecture)| {
        BURSTABLE_SIZES.iter().map(move |(size, vcpus, memory)| InstanceType {
            name: format!("{family}.{size}"),
            architecture,
            vcpus: *vcpus,
            memory_mib: *memory,
            burstable: true,
        })
    });
    let mut all: Vec<_> = fixed.chain(burstable).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

impl World {
    /// Instance types by name and filter.
    pub fn describe_instance_types(
        &self,
        names: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<InstanceType>> {
        let filters = Filters::<InstanceType>::read(filters)?;
        let all = all();
        if let Some(unknown) = names.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
            let message = format!("The following supplied instance types do not exist: [{unknown}]");
            return Err(ApiError::new("InvalidInstanceType", message));
        }
        let named = |one: &InstanceType| names.is_empty() || names.contains(&one.name);
        let found = all.into_iter().filter(|one| named(one) && filters.pass(self, one));
        paging.cut(found, 5, |one| one.name.clone())
    }

    /// Where which type can be had: each everywhere. Gives types and locations.
    pub fn describe_instance_type_offerings(
        &self,
        location: &str,
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<(String, String)>> {
        let filters = Filters::<Offering>::read(filters)?;
        let zones = self.describe_availability_zones();
        let places: Vec<String> = match location {
            "availability-zone" => zones,
            "availability-zone-id" => zones.iter().map(|zone| zone_id(zone)).collect(),
            "outpost" => Vec::new(),
            _ => vec![self.region.clone()],
        };
        let offer = |one: InstanceType| {
            places
                .iter()
                .map(|place| Offering { kind: one.name.clone(), place: place.clone() })
                .collect::<Vec<_>>()
        };
        let found = all().into_iter().flat_map(offer).filter(|one| filters.pass(self, one));
        paging.cut(found.map(|one| (one.kind, one.place)), 5, |(kind, place)| format!("{kind}/{place}"))
    }
}

/// A type where it can be had.
pub(crate) struct Offering {
    kind: String,
    place: String,
}

impl Filtered for Offering {
    const TAGGED: bool = false;
    const FIELDS: Fields<Self> =
        &[("instance-type", |it, _| one(&it.kind)), ("location", |it, _| one(&it.place))];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

impl Filtered for InstanceType {
    const TAGGED: bool = false;
    const FIELDS: Fields<Self> = &[
        ("auto-recovery-supported", yes),
        ("bare-metal", no),
        ("burstable-performance-supported", |it, _| one(it.burstable)),
        ("current-generation", yes),
        ("dedicated-hosts-supported", none),
        ("ebs-info.attachment-limit-type", none),
        ("ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps", none),
        ("ebs-info.ebs-optimized-info.baseline-iops", none),
        ("ebs-info.ebs-optimized-info.baseline-throughput-in-mbps", none),
        ("ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps", none),
        ("ebs-info.ebs-optimized-info.maximum-iops", none),
        ("ebs-info.ebs-optimized-info.maximum-throughput-in-mbps", none),
        ("ebs-info.ebs-optimized-support", |_, _| one("default")),
        ("ebs-info.encryption-support", |_, _| one("supported")),
        ("ebs-info.maximum-ebs-attachments", none),
        ("ebs-info.nvme-support", |_, _| one("required")),
        ("free-tier-eligible", |it, _| one(it.name == "t3.micro")),
        ("hibernation-supported", none),
        ("hypervisor", |_, _| one("nitro")),
        ("instance-storage-info.disk.count", none),
        ("instance-storage-info.disk.size-in-gb", none),
        ("instance-storage-info.disk.type", none),
        ("instance-storage-info.encryption-support", none),
        ("instance-storage-info.nvme-support", none),
        ("instance-storage-info.total-size-in-gb", none),
        ("instance-storage-supported", no),
        ("instance-type", |it, _| one(&it.name)),
        ("memory-info.size-in-mib", |it, _| one(it.memory_mib)),
        ("network-info.bandwidth-weightings", none),
        ("network-info.efa-info.maximum-efa-interfaces", none),
        ("network-info.efa-supported", no),
        ("network-info.ena-support", |_, _| one("required")),
        ("network-info.encryption-in-transit-supported", none),
        ("network-info.flexible-ena-queues-support", none),
        ("network-info.ipv4-addresses-per-interface", none),
        ("network-info.ipv6-addresses-per-interface", none),
        ("network-info.ipv6-supported", yes),
        ("network-info.maximum-network-cards", none),
        ("network-info.maximum-network-interfaces", none),
        ("network-info.network-performance", none),
        ("nitro-enclaves-support", none),
        ("nitro-tpm-info.supported-versions", none),
        ("nitro-tpm-support", none),
        ("processor-info.supported-architecture", |it, _| one(it.architecture)),
        ("processor-info.supported-features", none),
        ("processor-info.sustained-clock-speed-in-ghz", none),
        ("reboot-migration-support", none),
        ("supported-boot-mode", |it, _| it.boot_modes().iter().map(ToString::to_string).collect()),
        ("supported-root-device-type", |_, _| one("ebs")),
        ("supported-usage-class", |_, _| vec!["on-demand".into(), "spot".into()]),
        ("supported-virtualization-type", |_, _| one("hvm")),
        ("vcpu-info.default-cores", |it, _| one(it.cores())),
        ("vcpu-info.default-threads-per-core", |it, _| one(it.threads_per_core())),
        ("vcpu-info.default-vcpus", |it, _| one(it.vcpus)),
        ("vcpu-info.valid-cores", none),
        ("vcpu-info.valid-threads-per-core", none),
    ];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

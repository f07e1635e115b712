//! Instance types, and where they can be had.

use ovenbird_sim::{ApiError, InstanceType};

use super::{
    Call,
    shared::{filters, next_token, paging},
};
use crate::endpoint::xml_writer::Xml;

pub(super) fn describe_instance_types(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (names, filters, paging) = (params.texts("InstanceType"), filters(params)?, paging(params)?);
    // All that are told of are in the Region.
    let _ = params.flag("IncludeUnsupportedInRegion")?;
    call.finish_look()?;
    let page = call.look(|world| world.describe_instance_types(&names, &filters, &paging))?;
    call.answer("DescribeInstanceTypes", |xml| {
        xml.list("instanceTypeSet", &page.items, write);
        next_token(xml, page.next_token.as_ref());
    })
}

fn write(xml: &mut Xml, one: &InstanceType) {
    xml.text("instanceType", &one.name);
    xml.text("currentGeneration", true);
    xml.text("freeTierEligible", one.name == "t3.micro");
    xml.items("supportedUsageClasses", &["on-demand", "spot"]);
    xml.items("supportedRootDeviceTypes", &["ebs"]);
    xml.items("supportedVirtualizationTypes", &["hvm"]);
    xml.text("bareMetal", false);
    xml.text("hypervisor", "nitro");
    xml.part("processorInfo", |xml| xml.items("supportedArchitectures", &[one.architecture]));
    xml.part("vCpuInfo", |xml| {
        xml.text("defaultVCpus", one.vcpus);
        xml.text("defaultCores", one.cores());
        xml.text("defaultThreadsPerCore", one.threads_per_core());
    });
    xml.part("memoryInfo", |xml| xml.text("sizeInMiB", one.memory_mib));
    xml.text("instanceStorageSupported", false);
    xml.part("ebsInfo", |xml| {
        xml.text("ebsOptimizedSupport", "default");
        xml.text("encryptionSupport", "supported");
        xml.text("nvmeSupport", "required");
    });
    xml.part("networkInfo", |xml| {
        xml.text("ipv6Supported", true);
        xml.text("enaSupport", "required");
        xml.text("efaSupported", false);
    });
    xml.text("burstablePerformanceSupported", one.burstable);
    xml.text("autoRecoverySupported", true);
    xml.items("supportedBootModes", one.boot_modes());
}

pub(super) fn describe_instance_type_offerings(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let places = ["region", "availability-zone", "availability-zone-id", "outpost"];
    let location = params.choice("LocationType", &places)?.unwrap_or("region");
    let (filters, paging) = (filters(params)?, paging(params)?);
    call.finish_look()?;
    let page = call.look(|world| world.describe_instance_type_offerings(location, &filters, &paging))?;
    call.answer("DescribeInstanceTypeOfferings", |xml| {
        xml.list("instanceTypeOfferingSet", &page.items, |xml, (kind, place)| {
            xml.text("instanceType", kind);
            xml.text("locationType", location);
            xml.text("location", place);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

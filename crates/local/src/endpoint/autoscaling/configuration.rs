//! What a group launches, read and written.

use ovenbird_sim::{
    ApiError, World,
    auto_scaling::{Configuration, Distribution, MixedInstancesPolicy, Override},
    launch_templates::{InstanceRequirements, TemplateSpec},
};

use crate::endpoint::{query::parts, query_form::Params, xml_writer::Xml};

/// `LaunchTemplate` or `MixedInstancesPolicy` of a form's part; none if there is neither.
pub(super) fn read(params: &Params<'_>) -> Result<Option<Configuration>, ApiError> {
    let plain = spec(&params.part("LaunchTemplate"));
    let policy = params.part("MixedInstancesPolicy");
    let template = policy.part("LaunchTemplate");
    let base = spec(&template.part("LaunchTemplateSpecification"));
    match (plain, base) {
        (None, None) => Ok(None),
        (Some(template), None) => Ok(Some(Configuration::Template(template))),
        (None, Some(base)) => {
            let overrides = parts(&template, "Overrides").iter().map(one).collect::<Result<_, _>>()?;
            let distribution = distribution(&policy.part("InstancesDistribution"))?;
            Ok(Some(Configuration::Mixed(MixedInstancesPolicy { template: base, overrides, distribution })))
        }
        (Some(_), Some(_)) => {
            let message = "Valid requests must contain either LaunchTemplate or MixedInstancesPolicy.";
            Err(ApiError::new("ValidationError", message))
        }
    }
}

fn spec(params: &Params<'_>) -> Option<TemplateSpec> {
    let text = |name: &str| params.text(name).map(str::to_owned);
    let spec = TemplateSpec {
        id: text("LaunchTemplateId"),
        name: text("LaunchTemplateName"),
        version: text("Version"),
    };
    (spec != TemplateSpec::default()).then_some(spec)
}

fn one(params: &Params<'_>) -> Result<Override, ApiError> {
    let requirements = params.part("InstanceRequirements");
    let vcpus = requirements.part("VCpuCount").parsed("Min")?;
    let memory = requirements.part("MemoryMiB").parsed("Min")?;
    let requirements = match (vcpus, memory) {
        (Some(vcpus_min), Some(memory_mib_min)) => Some(InstanceRequirements { vcpus_min, memory_mib_min }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = "InstanceRequirements needs VCpuCount.Min and MemoryMiB.Min.";
            return Err(ApiError::new("ValidationError", message));
        }
    };
    Ok(Override {
        instance_type: params.text("InstanceType").map(str::to_owned),
        image: params.text("ImageId").map(str::to_owned),
        template: spec(&params.part("LaunchTemplateSpecification")),
        weight: params.parsed("WeightedCapacity")?,
        requirements,
    })
}

fn distribution(params: &Params<'_>) -> Result<Distribution, ApiError> {
    // Overrides are tried in their order, whatever the strategy: capacity here has one price.
    for name in ["OnDemandAllocationStrategy", "SpotAllocationStrategy", "SpotInstancePools", "SpotMaxPrice"]
    {
        let _ = params.text(name);
    }
    let default = Distribution::default();
    Ok(Distribution {
        on_demand_base: params.parsed("OnDemandBaseCapacity")?.unwrap_or(default.on_demand_base),
        on_demand_percentage: params
            .parsed("OnDemandPercentageAboveBaseCapacity")?
            .unwrap_or(default.on_demand_percentage),
    })
}

/// Writes it, as the part that it is.
pub(super) fn write(xml: &mut Xml, configuration: &Configuration) {
    match configuration {
        Configuration::Template(template) => xml.part("LaunchTemplate", |xml| write_spec(xml, template)),
        Configuration::Mixed(policy) => xml.part("MixedInstancesPolicy", |xml| {
            xml.part("LaunchTemplate", |xml| {
                xml.part("LaunchTemplateSpecification", |xml| write_spec(xml, &policy.template));
                xml.members("Overrides", &policy.overrides, |xml, one| {
                    xml.optional("InstanceType", one.instance_type.as_ref());
                    xml.optional("ImageId", one.image.as_ref());
                    xml.optional("WeightedCapacity", one.weight);
                    if let Some(template) = &one.template {
                        xml.part("LaunchTemplateSpecification", |xml| write_spec(xml, template));
                    }
                    if let Some(requirements) = &one.requirements {
                        xml.part("InstanceRequirements", |xml| {
                            xml.part("VCpuCount", |xml| xml.text("Min", requirements.vcpus_min));
                            xml.part("MemoryMiB", |xml| xml.text("Min", requirements.memory_mib_min));
                        });
                    }
                });
            });
            xml.part("InstancesDistribution", |xml| {
                xml.text("OnDemandBaseCapacity", policy.distribution.on_demand_base);
                let above = policy.distribution.on_demand_percentage;
                xml.text("OnDemandPercentageAboveBaseCapacity", above);
            });
        }),
    }
}

/// Names every template by its id and its name, as AWS answers.
pub(super) fn complete(configuration: &mut Configuration, world: &World) {
    match configuration {
        Configuration::Template(template) => *template = world.whole_spec(template),
        Configuration::Mixed(policy) => {
            policy.template = world.whole_spec(&policy.template);
            for template in policy.overrides.iter_mut().filter_map(|one| one.template.as_mut()) {
                *template = world.whole_spec(template);
            }
        }
    }
}

/// Writes which version of which template.
pub(super) fn write_spec(xml: &mut Xml, spec: &TemplateSpec) {
    xml.optional("LaunchTemplateId", spec.id.as_ref());
    xml.optional("LaunchTemplateName", spec.name.as_ref());
    xml.optional("Version", spec.version.as_ref());
}

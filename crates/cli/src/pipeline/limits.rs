//! `ovenbird pipeline limits`: what the recipes of a pipeline may ask for, set by an operator.

use std::{fs, path::Path};

use ovenbird_core::{
    Error, Result,
    domain::{builder_limits::BuilderLimits, id::PipelineName, plain::plain},
    ports::Bucket as _,
    store::{Ledger, Limited, keys},
};
use serde::Serialize;

use crate::target::Deployment;

/// What the recipes of a pipeline may ask for.
#[derive(Debug, Serialize)]
pub struct LimitsView {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The limits; none when nobody set any.
    pub limited: Option<Limited>,
    /// Whether the pipeline has a recipe. Limits may be set before somebody pushes the first one.
    pub has_recipe: bool,
}

/// What is to become of a pipeline's limits.
#[derive(Debug)]
pub enum Change<'a> {
    /// They stay.
    No,
    /// They are what this file says.
    Set(&'a Path),
    /// There are none any more.
    Clear,
}

/// Changes a pipeline's limits, and gives them.
pub async fn limits(
    deployment: &Deployment,
    pipeline: PipelineName,
    change: Change<'_>,
    why: Option<&str>,
) -> Result<LimitsView> {
    let ledger = Ledger(&deployment.cloud);
    match change {
        Change::No => {}
        Change::Set(path) => {
            let limits = read(path)?;
            let limited = Limited { limits, said: super::said(deployment, why).await? };
            ledger.limit_builders(&pipeline, Some(&limited)).await?;
        }
        Change::Clear => ledger.limit_builders(&pipeline, None).await?,
    }
    let limited = ledger.builder_limits(&pipeline).await?;
    let has_recipe = deployment.cloud.text(&keys::recipe_pointer(&pipeline)).await?.is_some();
    Ok(LimitsView { pipeline, limited, has_recipe })
}

fn read(path: &Path) -> Result<BuilderLimits> {
    let wrong = |problem: String| {
        let fix = "docs/operating.md, \"Limits of a pipeline\", has an example with every key; `--clear` takes all limits away";
        Error::bad_input(format!("limits `{}`", path.display()), problem, fix)
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
    BuilderLimits::parse(&text).map_err(wrong)
}

impl LimitsView {
    /// The limits as a file says them, for people.
    pub fn text(&self) -> String {
        let Self { pipeline, limited, has_recipe } = self;
        let unknown = if *has_recipe {
            ""
        } else {
            ", and no recipe: `ovenbird recipe list` shows those that have one"
        };
        let Some(Limited { limits, said }) = limited else {
            return format!("pipeline {pipeline} has no limits of its own{unknown}");
        };
        let why = said.why.as_ref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
        let mut text = format!("# pipeline {pipeline}, set by {} at {}{why}", plain(&said.by), said.at);
        let BuilderLimits {
            instance_types,
            volume_gib,
            concurrency,
            base_owners,
            instance_profiles,
            security_groups,
            subnets,
            kms_keys,
        } = limits;
        let names = |list: &[_]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let types = instance_types.as_deref().map(names);
        for (key, list) in [
            ("instance-types", &types),
            ("base-owners", base_owners),
            ("instance-profiles", instance_profiles),
            ("security-groups", security_groups),
            ("subnets", subnets),
            ("kms-keys", kms_keys),
        ] {
            if let Some(list) = list {
                let list: Vec<String> = list.iter().map(|one| format!("{:?}", plain(one))).collect();
                text.push_str(&format!("\n{key} = [{}]", list.join(", ")));
            }
        }
        for (key, number) in [("volume-gib", volume_gib), ("concurrency", concurrency)] {
            if let Some(number) = number {
                text.push_str(&format!("\n{key} = {number}"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovenbird_core::store::Said;

    const ALL: &str = r#"instance-types = ["m7i.*"]
base-owners = ["self"]
instance-profiles = []
security-groups = ["sg-01234567"]
subnets = ["subnet-01234567"]
kms-keys = ["alias/a", "alias/b"]
volume-gib = 100
concurrency = 2"#;

    #[test]
    fn the_text_is_the_file_that_it_was_made_of() {
        let said = Said { by: "user/alice".into(), why: None, at: "2026-01-01T00:00:00Z".parse().unwrap() };
        let limited = Some(Limited { limits: BuilderLimits::parse(ALL).unwrap(), said });
        let view = LimitsView { pipeline: "shop".parse().unwrap(), limited, has_recipe: true };
        let head = "# pipeline shop, set by user/alice at 2026-01-01T00:00:00Z\n";
        assert_eq!(view.text(), format!("{head}{ALL}"));
        let misspelt = LimitsView { limited: None, has_recipe: false, ..view };
        assert!(misspelt.text().contains("pipeline shop has no limits of its own, and no recipe"));
    }

    #[test]
    fn a_file_with_a_mistake_is_refused_with_its_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "volume-gib = 100\ninstance-type = []\n").unwrap();
        let error = read(file.path()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(read(Path::new("/there/is/none.toml")).unwrap_err().to_string().contains("can't be read"));
    }
}

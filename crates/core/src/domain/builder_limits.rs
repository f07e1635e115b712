//! What the recipes of one pipeline may ask of a builder at most. An operator says it, and launch-builder holds to it: who
//! pushes a recipe can't say it.

use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Result},
    names::Names,
    offer,
    recipe::{Builder, Recipe},
};

/// What the recipes of a pipeline may ask of a builder. A list that isn't given limits nothing. An empty one allows nothing but
/// what a recipe gets that names none: the stack's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuilderLimits {
    /// The instance types, as `m7i.*`: `*` stands for any characters, `?` for one.
    #[serde(alias = "instance-types")]
    pub instance_types: Option<Vec<Names>>,
    /// The most GiB of the root volume, also of one that is as large as its base's.
    #[serde(alias = "volume-gib")]
    pub volume_gib: Option<u32>,
    /// The most builders at a time: a recipe whose `concurrency` is more has so many.
    pub concurrency: Option<u32>,
    /// The accounts whose images may be the base: 12 digits, or `self` for the stack's own.
    #[serde(alias = "base-owners")]
    pub base_owners: Option<Vec<String>>,
    /// The instance profiles, by name.
    #[serde(alias = "instance-profiles")]
    pub instance_profiles: Option<Vec<String>>,
    /// The security groups, by id.
    #[serde(alias = "security-groups")]
    pub security_groups: Option<Vec<String>>,
    /// The subnets, by id.
    pub subnets: Option<Vec<String>>,
    /// The KMS keys, as recipes write them: an id, an alias or an ARN.
    #[serde(alias = "kms-keys")]
    pub kms_keys: Option<Vec<String>>,
}

/// The base that a bake starts from, as far as limits go.
#[derive(Debug, Clone, Copy)]
pub struct LimitedBase<'a> {
    /// The account that owns it.
    pub owner: &'a str,
    /// The stack's account.
    pub own: &'a str,
    /// Its CPU architecture: `x86_64`.
    pub architecture: &'a str,
    /// The size of its root volume in GiB.
    pub gib: Option<u32>,
}

impl BuilderLimits {
    /// Parses a file of an operator's, as TOML.
    ///
    /// # Errors
    /// What is wrong, with its line where TOML or a key is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let limits: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if limits == Self::default() {
            return Err("limits nothing".to_owned());
        }
        // With none at a time, bakes would wait for their turn until they are given up.
        if limits.concurrency.is_some_and(|most| !(1..=20).contains(&most)) {
            return Err("concurrency: is from 1 to 20, as in recipes".to_owned());
        }
        if limits.volume_gib == Some(0) {
            return Err("volume-gib: is at least 1".to_owned());
        }
        let account = |owner: &str| owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
        for (key, list, is, wanted) in [
            (
                "base-owners",
                &limits.base_owners,
                &(|owner: &str| owner == "self" || account(owner)) as &dyn Fn(&str) -> bool,
                "an account's 12 digits, or `self`",
            ),
            (
                "security-groups",
                &limits.security_groups,
                &|id: &str| id.starts_with("sg-"),
                "the id of a security group, `sg-…`",
            ),
            (
                "subnets",
                &limits.subnets,
                &|id: &str| id.starts_with("subnet-"),
                "the id of a subnet, `subnet-…`",
            ),
        ] {
            if let Some(wrong) = list.iter().flatten().find(|one| !is(one)) {
                return Err(format!("{key}: `{wrong}` is not {wanted}"));
            }
        }
        Ok(limits)
    }

    /// How many builders a recipe of the pipeline may have at a time.
    pub fn concurrency(&self, builder: &Builder) -> u32 {
        self.concurrency.map_or(builder.concurrency, |most| builder.concurrency.min(most))
    }

    /// Refuses a recipe whose builder isn't allowed; where the base isn't known yet, what hangs on it is left out.
    ///
    /// # Errors
    /// With everything that isn't allowed.
    pub fn check(&self, recipe: &Recipe, base: Option<LimitedBase<'_>>) -> Result<()> {
        let found = self.against(&recipe.builder, base);
        if found.is_empty() {
            return Ok(());
        }
        let pipeline = &recipe.pipeline;
        Err(Error::bad_input(
            format!("the recipe of pipeline `{pipeline}`"),
            format!("asks for what the pipeline's limits don't allow: {}", found.join("; ")),
            format!("Change the recipe, or ask an operator to change `ovenbird pipeline limits {pipeline}`"),
        ))
    }

    /// Everything of a recipe's builder that isn't allowed, each in words.
    fn against(&self, builder: &Builder, base: Option<LimitedBase<'_>>) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(allowed) = &self.instance_types {
            let types = match base {
                Some(base) => offer::types(builder, base.architecture),
                None => builder.instance_types.clone(),
            };
            let list: Vec<String> = allowed.iter().map(Names::to_string).collect();
            for other in types.iter().filter(|one| !allowed.iter().any(|names| names.has(one))) {
                found.push(format!("instance type `{other}` ({})", listed(&list)));
            }
        }
        let volume = builder.volume.as_ref();
        let gib = volume.and_then(|volume| volume.gib).or(base.and_then(|base| base.gib));
        if let (Some(most), Some(gib)) = (self.volume_gib, gib)
            && gib > most
        {
            found.push(format!("a volume of {gib} GiB (at most {most})"));
        }
        if let (Some(allowed), Some(base)) = (&self.base_owners, base) {
            let is = |owner: &String| owner == base.owner || owner == "self" && base.owner == base.own;
            if !allowed.iter().any(is) {
                found.push(format!("a base of account {} ({})", base.owner, listed(allowed)));
            }
        }
        let profile = builder.instance_profile.as_slice();
        let key = volume.and_then(|volume| volume.kms_key.as_ref());
        let key: &[String] = key.map(std::slice::from_ref).unwrap_or_default();
        for (what, asked, allowed) in [
            ("instance profile", profile, &self.instance_profiles),
            ("security group", &builder.security_groups, &self.security_groups),
            ("subnet", &builder.subnets, &self.subnets),
            ("KMS key", key, &self.kms_keys),
        ] {
            let Some(allowed) = allowed else { continue };
            for other in asked.iter().filter(|one| !allowed.contains(one)) {
                found.push(format!("{what} `{other}` ({})", listed(allowed)));
            }
        }
        found
    }
}

fn listed(allowed: &[String]) -> String {
    if allowed.is_empty() { "none is allowed".to_owned() } else { format!("allowed: {}", allowed.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::recipe::Recipe;

    const BASE: LimitedBase<'_> =
        LimitedBase { owner: "136693071363", own: "123456789012", architecture: "x86_64", gib: Some(8) };

    fn builder(lines: &str) -> Builder {
        let text = format!(
            "pipeline = 'shop'\nbase.image = 'ami-0123456789abcdef0'\npromote.channel = 'c'\n\
             test = [{{ port = 80 }}]\nstep = [{{ shell = 'true' }}]\n[builder]\n{lines}\n"
        );
        Recipe::parse_pushed(&text).unwrap_or_else(|errors| panic!("{errors}")).builder
    }

    fn limits(text: &str) -> BuilderLimits {
        BuilderLimits::parse(text).unwrap()
    }

    #[test]
    fn each_limit_refuses_what_is_beyond_it_and_nothing_else() {
        for (limit, asks, refused) in [
            ("instance-types = ['m7i.*', 'c?i.large']", "instance-types = ['m7i.large', 'c7i.large']", None),
            (
                "instance-types = ['m7i.*']",
                "instance-types = ['m7i.large', 'p5.48xlarge']",
                Some("instance type `p5.48xlarge` (allowed: m7i.*)"),
            ),
            // A recipe that names none gets the usual ones.
            ("instance-types = ['m*']", "", None),
            ("instance-types = ['m7i*']", "", Some("instance type `m6i.large` (allowed: m7i*)")),
            ("volume-gib = 100", "volume.gib = 100", None),
            ("volume-gib = 100", "volume.gib = 101", Some("a volume of 101 GiB (at most 100)")),
            ("volume-gib = 7", "", Some("a volume of 8 GiB (at most 7)")),
            ("volume-gib = 8", "", None),
            ("base-owners = ['136693071363']", "", None),
            (
                "base-owners = ['self', '000000000000']",
                "",
                Some("a base of account 136693071363 (allowed: self, 000000000000)"),
            ),
            ("instance-profiles = ['own']", "instance-profile = 'own'", None),
            ("instance-profiles = []", "", None),
            (
                "instance-profiles = []",
                "instance-profile = 'own'",
                Some("instance profile `own` (none is allowed)"),
            ),
            ("security-groups = ['sg-01234567']", "security-groups = ['sg-01234567']", None),
            (
                "security-groups = ['sg-01234567']",
                "security-groups = ['sg-01234568']",
                Some("security group `sg-01234568` (allowed: sg-01234567)"),
            ),
            (
                "subnets = []",
                "subnets = ['subnet-01234567']",
                Some("subnet `subnet-01234567` (none is allowed)"),
            ),
            ("kms-keys = ['alias/a']", "volume.kms-key = 'alias/a'", None),
            (
                "kms-keys = ['alias/a']",
                "volume.kms-key = 'alias/b'",
                Some("KMS key `alias/b` (allowed: alias/a)"),
            ),
        ] {
            let found = limits(limit).against(&builder(asks), Some(BASE));
            assert_eq!(found, refused.into_iter().collect::<Vec<_>>(), "{limit}, {asks}");
            assert_eq!(BuilderLimits::default().against(&builder(asks), Some(BASE)), [""; 0]);
        }
    }

    #[test]
    fn a_recipe_that_asks_for_more_builders_at_a_time_has_as_many_as_it_may() {
        let most = limits("concurrency = 2");
        let concurrency =
            [1, 2, 3].map(|asked| most.concurrency(&builder(&format!("concurrency = {asked}"))));
        assert_eq!(concurrency, [1, 2, 2]);
        assert_eq!(BuilderLimits::default().concurrency(&builder("concurrency = 3")), 3);
    }

    #[test]
    fn an_image_of_the_stack_s_own_account_is_one_of_self() {
        let own = LimitedBase { owner: BASE.own, ..BASE };
        assert_eq!(limits("base-owners = ['self']").against(&builder(""), Some(own)), [""; 0]);
    }

    /// `recipe push` doesn't look for the base.
    #[test]
    fn what_hangs_on_the_base_is_left_out_where_it_isn_t_known() {
        let limits = limits("instance-types = ['m7i.*']\nvolume-gib = 7\nbase-owners = []");
        assert_eq!(limits.against(&builder(""), None), [""; 0]);
        assert_eq!(limits.against(&builder("instance-types = ['c7i.large']\nvolume.gib = 9"), None).len(), 2);
    }

    /// A limit of none at a time let bakes wait for half a day, and a slip in a name would allow nothing.
    #[test]
    fn a_limit_that_can_t_be_meant_is_refused() {
        for (text, words) in [
            ("concurrency = 0", "from 1 to 20"),
            ("concurrency = 21", "from 1 to 20"),
            ("volume-gib = 0", "at least 1"),
            ("base-owners = ['amazn']", "base-owners: `amazn`"),
            ("security-groups = ['web']", "security-groups: `web`"),
            ("subnets = ['vpc-01234567']", "subnets: `vpc-01234567`"),
            ("", "limits nothing"),
        ] {
            let error = BuilderLimits::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_limit_that_there_isn_t_is_refused() {
        let error = BuilderLimits::parse("instance-type = ['m7i.*']").unwrap_err();
        assert!(error.contains("instance-type"), "{error}");
    }
}

//! What recipes name.

use super::*;

#[test]
fn a_runner_that_a_base_needs_and_is_not_there_is_told() {
    let (_, what) = only(|facts| of(facts).runners = BTreeMap::from([("x86_64".to_owned(), Ok(false))]));
    assert_eq!(what, "no runner for x86_64, which the base of shop is of");
}

#[test]
fn a_recipe_or_a_base_that_a_bake_would_end_with_is_told() {
    let pipeline = || "shop".parse::<crate::domain::id::PipelineName>().unwrap();
    fails("no recipe for pipeline", |facts| {
        let one = &mut of(facts).pipelines.as_mut().unwrap()[0];
        (one.recipe, one.base) = (Err(Error::NoRecipe { pipeline: pipeline() }), None);
    });
    let gone = || Error::NoBase { what: "parameter `/x`".into(), problem: "does not exist".into() };
    fails("no base image: parameter `/x` does not exist", |facts| {
        of(facts).pipelines.as_mut().unwrap()[0].base = Some(Err(gone()));
    });
    // A look that was refused is no word on the base.
    let (severity, what) = only(|facts| {
        of(facts).pipelines.as_mut().unwrap()[0].base = Some(Err(denied("ec2:DescribeImages")));
    });
    assert_eq!((severity, what.as_str()), (Severity::Unknown, "could not look: ec2:DescribeImages"));
}

#[test]
fn instance_types_that_can_not_run_the_base_are_told() {
    fails("the base is arm64, and instance type m7i.large runs x86_64", |facts| {
        with_recipe(facts, "[builder]\ninstance-types = [\"m7i.large\"]");
        of(facts).pipelines.as_mut().unwrap()[0].base = Some(Ok(base("arm64")));
    });
    weaker("this Region has no instance type m6i.large", |facts| {
        let Some(Ok(types)) = &mut of(facts).types else { panic!("no types") };
        types.remove("m6i.large");
    });
    fails("this Region has no instance type m7i.large, m6i.large, m7i-flex.large", |facts| {
        of(facts).types = Some(Ok(BTreeMap::new()));
    });
}

#[test]
fn a_parameter_that_a_promotion_can_not_write_is_told_before_a_bake() {
    let kind = |kind: &str, data_type: &str, tier: &str, has_policies| ParameterKind {
        kind: kind.into(),
        data_type: data_type.into(),
        tier: tier.into(),
        has_policies,
        version: 1,
        written: now(),
    };
    let put = |facts: &mut Facts, kind: ParameterKind| {
        with_recipe(facts, "[promote]\nchannel = \"production\"\nparameter = \"/images/shop\"");
        of(facts).parameters = Ok(BTreeMap::from([("/images/shop".parse().unwrap(), kind)]));
    };
    fails("/images/shop is a SecureString", |facts| {
        put(facts, kind("SecureString", "text", "Standard", false));
    });
    fails("is of data type text, and not aws:ec2:image", |facts| {
        put(facts, kind("String", "text", "Standard", false));
    });
    weaker("has a policy", |facts| put(facts, kind("String", "aws:ec2:image", "Advanced", true)));
    weaker("advanced tier", |facts| put(facts, kind("String", "aws:ec2:image", "Advanced", false)));
    let mut facts = well();
    put(&mut facts, kind("String", "aws:ec2:image", "Standard", false));
    assert_eq!(told(&facts), []);
}

#[test]
fn secrets_that_a_builder_can_not_read_are_told() {
    let step = |name: &str| format!("[[step]]\nshell = \"true\"\nsecrets = {{ TOKEN = \"{name}\" }}");
    fails("reads /ovenbird/secrets/token, which does not exist", |facts| {
        with_recipe(facts, &step("/ovenbird/secrets/token"));
    });
    fails("reads /other/token, and builders may read below /ovenbird/secrets/ alone", |facts| {
        with_recipe(facts, &step("/other/token"));
        let there = ParameterKind {
            kind: "SecureString".into(),
            data_type: "text".into(),
            tier: "Standard".into(),
            has_policies: false,
            version: 1,
            written: now(),
        };
        of(facts).parameters = Ok(BTreeMap::from([("/other/token".parse().unwrap(), there)]));
    });
}

#[test]
fn templates_and_groups_that_are_not_there_are_told() {
    let promote = "[promote]\nchannel = \"production\"\nlaunch-templates = [\"web\"]\ngroups = [\"fleet\"]";
    fails("launch template web does not exist", |facts| {
        with_recipe(facts, promote);
        of(facts).templates = BTreeMap::from([("web".parse().unwrap(), Ok(false))]);
    });
    fails("Auto Scaling group fleet does not exist", |facts| {
        with_recipe(facts, promote);
        of(facts).groups = BTreeMap::from([("fleet".parse().unwrap(), Ok(false))]);
    });
    let (severity, _) = only(|facts| {
        with_recipe(facts, promote);
        let look = Err(denied("autoscaling:DescribeAutoScalingGroups"));
        of(facts).groups = BTreeMap::from([("fleet".parse().unwrap(), look)]);
    });
    assert_eq!(severity, Severity::Unknown);
}

//! The recipe and all its tables but steps and tests.

use super::{
    Kind::{Flag, Line, List, Map, Number, Table as Of, Tables, Time},
    Need::{Absent, Choice, Default, Empty, Needed},
    Table, Values, key,
    rules::{
        ALARM, AMI, ANY, ARCHITECTURE, BASE_CHANNEL, CHANNEL, FILE_PATH, GROUP, IMAGE_OWNER,
        INSTANCE_PROFILE, INSTANCE_TYPE, KMS_KEY, MODE, NAMES, OWNER, PARAMETER, PATH, PIPELINE,
        SECURITY_GROUP, SHARE, STRATEGY, SUBNET, TAG, TAG_VALUE, TEMPLATE, VOLUME_TYPE,
    },
    seal::SEAL,
    steps::STEP,
    test_kinds::TEST,
};

#[rustfmt::skip]
pub(in crate::domain::recipe) static RECIPE: Table =
    Table::of("what an image of a pipeline is made of, tested with and promoted to", &[
    key("pipeline", Line(&PIPELINE), Needed(r#"`pipeline = "storefront"`"#),
        "the pipeline: lower-case letters, digits and `-`, beginning with a letter, at most 40"),
    key("base", Of(&BASE), Needed("`[base]`"), "the image to start from"),
    key("builder", Of(&BUILDER), Empty, "the machine that is configured"),
    key("artifact", Of(&ARTIFACT), Absent("no artifact"), "where the uploaded artifact goes"),
    key("step", Tables(&STEP), Absent("none"),
        "how the machine is configured, in order; the first step that fails ends the bake"),
    key("test", Tables(&TEST), Needed("a `[[test]]`: an image without a test is never promoted"),
        "what must hold of the configured machine; at least one"),
    key("seal", Of(&SEAL), Empty, "what the seal keeps, and what it removes in addition"),
    key("validate", Of(&VALIDATE), Empty, "how the image is validated"),
    key("promote", Of(&PROMOTE), Needed(r#"`[promote]` with `channel = "production"`"#),
        "what follows a validated image"),
    key("channel", Tables(&TO), Absent("none"), "other channels of the pipeline, and what follows them"),
    key("rollout", Of(&ROLLOUT), Empty, "how Auto Scaling groups are brought to a new image"),
    key("retain", Of(&RETAIN), Empty, "how long images are kept"),
    key("deadlines", Of(&DEADLINES), Empty, "how long each part of a bake may take"),
]);

#[rustfmt::skip]
static BASE: Table = Table::one("image to start from", "the image to start from", &[
    key("image", Line(&AMI), Choice, r#"this very image: `"ami-0123456789abcdef0"`"#),
    key("parameter", Line(&PARAMETER), Choice,
        "the image that an SSM parameter names: a public alias of AWS, or one of yours"),
    key("newest", Of(&NEWEST), Choice,
        "the newest available image of an owner whose name matches, and that isn't deprecated"),
    key("channel", Line(&BASE_CHANNEL), Choice,
        r#"the image that another pipeline's channel points at: `"jvm-runtime/stable"`"#),
]);

#[rustfmt::skip]
static NEWEST: Table = Table::of("the newest available image of an owner whose name matches", &[
    key("owner", Line(&IMAGE_OWNER), Needed(r#"`owner = "amazon"`"#),
        "the owner: an account's 12 digits, or `amazon`, `self`, `aws-marketplace`"),
    key("name", Line(&ANY), Needed(r#"`name = "debian-12-amd64-*"`"#),
        r#"the image's name, with `*` and `?`: `"debian-12-amd64-*"`"#),
    key("architecture", Line(&ARCHITECTURE), Absent("any"), "its architecture, when images of several match"),
]);

#[rustfmt::skip]
static BUILDER: Table = Table::of("the machine that is configured and made an image", &[
    key("instance-types", List { items: &INSTANCE_TYPE, filled: true },
        Absent(r#"`["m7i.large", "m6i.large", "m7i-flex.large"]`, on an arm64 base `["m7g.large", "m6g.large", "t4g.small"]`"#),
        "instance types in order of preference; the next is tried when capacity is short"),
    key("spot", Flag, Default("false"),
        "asks for spot capacity first, for every type and subnet, and then for on-demand"),
    key("volume", Of(&VOLUME), Absent("the base's"), "the root volume"),
    key("subnets", List { items: &SUBNET, filled: true }, Absent("the stack's"),
        "subnets in order of preference; the next is tried when capacity is short"),
    key("security-groups", List { items: &SECURITY_GROUP, filled: true }, Absent("the stack's"),
        "ids of security groups"),
    key("instance-profile", Line(&INSTANCE_PROFILE),
        Absent("none; the stack's, if the recipe has `secrets` or with `--keep-builder`"),
        "the instance profile's name; its role must be allowed to read the recipe's `secrets`"),
    // With one, the fix of a bad artifact would wait until the bad one's tests have run out of time.
    key("concurrency", Number { min: 1, max: 20 }, Default("2"),
        "so many bakes of the pipeline may have a builder at the same time; the others wait, and of uploads that wait \
         only the newest is baked"),
    // EC2's most tags of a resource are 50; up to ten are ours.
    key("tags", Map { names: &TAG, values: Values::Line(&TAG_VALUE), filled: None, max: Some(40) },
        Absent("none"),
        "tags beside Ovenbird's own: at most 40, none that begins with `aws:` or `ovenbird:`"),
]);

#[rustfmt::skip]
static VOLUME: Table = Table::of("the builder's root volume, which the image's snapshot is made of", &[
    key("gib", Number { min: 1, max: 65_536 }, Absent("the base's"), "its size in GiB, at least the base's"),
    key("type", Line(&VOLUME_TYPE), Absent("the base's"), "its type"),
    key("iops", Number { min: 100, max: 256_000 }, Absent("the type's"),
        "its operations per second: needed for io1 and io2, possible for gp3"),
    key("throughput", Number { min: 125, max: 1_000 }, Absent("`125`"),
        "its throughput in MiB per second, for gp3 alone; at most a quarter of `iops`"),
    key("kms-key", Line(&KMS_KEY), Absent("the base's"),
        "encrypts it with this KMS key: an id, `alias/…` or an ARN; `alias/aws/ebs` is AWS's own"),
]).filled();

#[rustfmt::skip]
static ARTIFACT: Table = Table::one("place", "where the uploaded artifact goes", &[
    key("to", Line(&FILE_PATH), Choice, r#"the file that it becomes: `"/opt/storefront/app.jar"`"#),
    key("unpack-to", Line(&PATH), Choice,
        "the folder that it is unpacked into: a tar, tar.gz or zip (a jar or war too). See below for what is \
         refused"),
    key("mode", Line(&MODE), Absent("`\"0755\"` for a program (ELF, or beginning with `#!`), else `\"0644\"`"),
        "permission bits of the file, in octal").of("to"),
    key("owner", Line(&OWNER), Absent("root"),
        "`user` or `user:group`: the owner of the file, or of the folder and all that is unpacked into it. \
         They must be in the base"),
    key("match", Line(&NAMES), Absent("all names"),
        "which names of uploads are artifacts: `\"*.jar\"`. `*` stands for any characters, `?` for one. The upload of any \
         other file starts no bake. Checksums and signatures are never artifacts"),
]);

#[rustfmt::skip]
static VALIDATE: Table = Table::of("how the image is validated", &[
    key("boot", Flag, Default("false"), "tests a fresh instance of the finished image too"),
]);

#[rustfmt::skip]
static PROMOTE: Table = Table::of("what follows a validated image", &[
    key("channel", Line(&CHANNEL), Needed(r#"`channel = "production"`"#),
        "the channel that then points at the image"),
    key("parameter", Line(&PARAMETER), Absent("none"),
        "the SSM parameter that then holds the image's id, for `resolve:ssm:…`"),
    key("launch-templates", List { items: &TEMPLATE, filled: true }, Absent("none"),
        "names of launch templates: their default version then has the image, and differs in nothing else"),
    key("groups", List { items: &GROUP, filled: true }, Absent("none"),
        "names of Auto Scaling groups, which are brought to the image as `[rollout]` says, one after the other. \
         The channel moves when all of them serve from it"),
    // AWS can't take it back, so a recipe can say no.
    key("imdsv2", Flag, Default("true"),
        "instances of the image accept IMDSv2 alone, unless their launch says otherwise: EC2's `ImdsSupport` of the \
         image, which nothing takes back. `false` for an application that only speaks IMDSv1"),
    key("deregistration-protection", Flag, Default("true"),
        "protects the image against deregistration by anything but prune"),
]);

#[rustfmt::skip]
static TO: Table = Table::of("another channel, which a person promotes images to", &[
    key("name", Line(&CHANNEL), Needed(r#"`name = "production"`"#), "the channel"),
    key("parameter", Line(&PARAMETER), Absent("none"), "as in `[promote]`"),
    key("launch-templates", List { items: &TEMPLATE, filled: true }, Absent("none"), "as in `[promote]`"),
    key("groups", List { items: &GROUP, filled: true }, Absent("none"), "as in `[promote]`"),
]);

#[rustfmt::skip]
static ROLLOUT: Table = Table::of("how Auto Scaling groups are brought to a new image", &[
    key("strategy", Line(&STRATEGY), Default(r#""rolling""#),
        "`rolling` replaces the machines of each group; `blue-green` takes two groups of which one serves, gives the \
         image to the other one, and moves the requests over to it"),
    key("keep-for", Time, Default(r#""1h""#),
        "with `blue-green`: how long the machines that served before stay, so that a return is quick"),
    key("stages", List { items: &SHARE, filled: true },
        Absent(r#"`["1 instance", "100%"]`; with `blue-green` `["10%", "100%"]`"#),
        r#"how much of a group has the image after each stage, or of the requests with `blue-green`: `"1 instance"`, `"25%"`; the last is `"100%"`"#),
    key("watch", Time, Default(r#""2m""#), "how long the new instances of a stage must serve before the next stage"),
    key("soak", Time, Default(r#""10m""#), "how long all instances must serve before the channel moves"),
    key("healthy-within", Time, Default(r#""5m""#),
        "how long a new instance may take until its target groups find it healthy"),
    key("alarms", List { items: &ALARM, filled: true }, Absent("none"),
        "names of CloudWatch alarms, at most 10: one that is raised brings the groups back"),
    key("max-unhealthy", Number { min: 0, max: 100 }, Default("0"), "so many new instances may be sick at once"),
    key("pause-before", Number { min: 1, max: 20 }, Absent("no pause"),
        "before this stage, counted from 1, the rollout waits for `ovenbird rollout PIPELINE approve`"),
    key("approve-hours", Number { min: 1, max: 720 }, Absent("no limit"),
        "how many hours it waits for that; then it goes back, at the next prune run"),
    key("deadline", Time, Default(r#""4h""#), "how long one stage may take"),
]);

#[rustfmt::skip]
static RETAIN: Table = Table::of("how long images are kept", &[
    key("newest", Number { min: 1, max: 1_000 }, Default("5"), "so many of the newest images stay"),
    key("days", Number { min: 0, max: 3_650 }, Default("30"), "those younger than so many days stay too"),
    key("history", Number { min: 1, max: 20 }, Default("1"),
        "so many of the images that a channel pointed at before its current one stay too"),
    // AWS reports the use of an image in other places up to "the past few days" late.
    key("soak", Number { min: 0, max: 365 }, Default("7"),
        "an image that nothing needs is deprecated, so many days later disabled, and again so many days later \
         deregistered; until then `ovenbird prune undo` takes it back. With 0 it is deregistered at once"),
    key("retire-shared", Flag, Default("false"),
        "retires images that are shared outside of the account, too, although nobody sees who starts them there"),
]);

#[rustfmt::skip]
static DEADLINES: Table = Table::of("how long each part of a bake may take", &[
    key("builder", Time, Default(r#""30m""#), "from the launch to the end of the steps"),
    key("validation", Time, Default(r#""15m""#), "the tests"),
    key("imaging", Time, Default(r#""60m""#), "sealing, and again for the imaging"),
    key("promotion", Time, Default(r#""15m""#), "until the parameter has the new image; the promotion stands if it comes later"),
]);

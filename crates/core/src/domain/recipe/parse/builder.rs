//! `[builder]`: the machine to configure.

use crate::domain::recipe::{
    Builder, Volume,
    grammar::AWS_OWN_KEY,
    reader::{Fields, Reader},
};

pub(super) fn builder(reader: &mut Reader<'_>, mut builder: Fields) -> Builder {
    Builder {
        instance_types: builder.texts("instance-types").unwrap_or_default(),
        spot: builder.flag("spot").unwrap_or_default(),
        volume: builder.table("volume").map(|table| volume(reader, table)),
        subnets: builder.texts("subnets").unwrap_or_default(),
        security_groups: builder.texts("security-groups").unwrap_or_default(),
        instance_profile: builder.text("instance-profile"),
        concurrency: builder.number("concurrency").unwrap_or_default(),
        tags: builder.map("tags").unwrap_or_default(),
    }
}

fn volume(reader: &mut Reader<'_>, mut volume: Fields) -> Volume {
    let kind = volume.text("type");
    match (kind.as_deref(), volume.given("iops")) {
        (Some("io1" | "io2"), false) => {
            let hint = "Add `iops = 3000`, or use `gp3`, which has as many by itself";
            reader.wrong(&volume.place("type"), "a volume of type io1 or io2 needs `iops`", hint);
        }
        (Some("gp2" | "standard"), true) => {
            let problem = "`iops` needs a volume of type gp3, io1 or io2";
            reader.wrong(&volume.place("iops"), problem, "Leave it out, or use `type = \"gp3\"`");
        }
        (None, true) if !volume.given("type") => {
            let problem = "`iops` needs a volume of type gp3, io1 or io2";
            reader.wrong(&volume.place("iops"), problem, "Add `type = \"gp3\"`");
        }
        (Some(_) | None, _) => {}
    }
    let (iops, throughput) = (volume.number("iops"), volume.number("throughput"));
    if let Some(throughput) = throughput {
        throughput_fits(reader, &volume, kind.as_deref(), iops, throughput);
    }
    let key = volume.text("kms-key");
    let kms_key = key.map(|key| if key == AWS_OWN_KEY { format!("alias/{key}") } else { key });
    Volume { gib: volume.number("gib"), kind, iops, throughput, kms_key }
}

/// The operations per second of a gp3 volume that is given none.
const GP3_IOPS: u32 = 3_000;

/// EC2 gives a gp3 volume a MiB per second for every four operations.
fn throughput_fits(
    reader: &mut Reader<'_>,
    volume: &Fields,
    kind: Option<&str>,
    iops: Option<u32>,
    throughput: u32,
) {
    let place = volume.place("throughput");
    let least = throughput * 4;
    match kind {
        Some("gp3") if least > iops.unwrap_or(GP3_IOPS) => {
            let hint = match iops {
                Some(_) => format!("Give `iops = {least}` at least, or a smaller `throughput`"),
                None => format!("Add `iops = {least}`, or give at most `throughput = {}`", GP3_IOPS / 4),
            };
            reader.wrong(&place, "`throughput` is more than a quarter of `iops`, which EC2 refuses", hint);
        }
        Some("gp3") => {}
        Some(_) => {
            let hint = "Leave it out, or use `type = \"gp3\"`";
            reader.wrong(&place, "`throughput` needs a volume of type gp3", hint);
        }
        None if volume.given("type") => {}
        None => reader.wrong(&place, "`throughput` needs a volume of type gp3", "Add `type = \"gp3\"`"),
    }
}

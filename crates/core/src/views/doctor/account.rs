//! Who asks, which stack is there, and what its builders' volumes are encrypted with.

use super::{Check, Finding, facts::Facts, in_one_line, seen};

/// AWS's own key for volumes, as EC2 names it while nobody chose another.
const AWS_OWN: &str = "alias/aws/ebs";

pub(super) fn account(facts: &Facts) -> Check {
    match &facts.caller {
        Ok(caller) => {
            let seen = format!("{} in account {}, Region {}", caller.name, caller.account, caller.region);
            Check::new("account", seen, Vec::new())
        }
        Err(error) => {
            let (what, fix) = if facts.local {
                ("the local cloud doesn't answer", "ovenbird local up")
            } else {
                (
                    "no credentials that AWS takes, or no Region",
                    "aws sts get-caller-identity, with the same profile; `aws configure` or `aws sso login` sets it up",
                )
            };
            let finding = Finding::fails(what, in_one_line(error), fix);
            Check::new("account", "nobody", vec![finding])
        }
    }
}

pub(super) fn stack(facts: &Facts) -> Check {
    let name = &facts.name;
    let stack = match &facts.stack {
        Ok(stack) => stack,
        Err(error) => {
            let finding =
                Finding::fails(error.to_string(), "Nothing can be baked before it is deployed", error.hint());
            return Check::new("stack", format!("{name}: not found"), vec![finding]);
        }
    };
    let mut findings = Vec::new();
    let command = &facts.command;
    match &stack.version {
        Some(version) if version == command => {}
        version => {
            let version = version.as_deref().unwrap_or("too old to say its version");
            findings.push(Finding::weaker(
                format!("the stack is {version}, this command is {command}"),
                "An older one refuses, or doesn't know, what a newer one writes",
                "make deploy push-runner build, all from one checkout",
            ));
        }
    }
    let version = stack.version.as_deref().unwrap_or("of an unknown version");
    Check::new("stack", format!("{name} {version}"), findings)
}

pub(super) fn encryption(facts: &Facts) -> Check {
    const NAME: &str = "encryption";
    let Some(look) = &facts.encryption else {
        return Check::new(NAME, "the local cloud encrypts nothing", Vec::new());
    };
    let encryption = match seen(look) {
        Ok(encryption) => encryption,
        Err(findings) => return Check::new(NAME, "unknown", findings),
    };
    let mut findings = Vec::new();
    let (required, keys) = match &facts.stack {
        Ok(stack) => (stack.encrypted_only, stack.keys.as_slice()),
        Err(_) => (false, &[][..]),
    };
    if required && !encryption.by_default {
        findings.push(Finding::fails(
            "the stack refuses unencrypted builders, and new volumes are not encrypted by default",
            "EC2 refuses every launch from a base that isn't encrypted itself",
            "aws ec2 enable-ebs-encryption-by-default",
        ));
    }
    let own = encryption.by_default && encryption.key != AWS_OWN && !is_aws_own(&encryption.key);
    if own && !keys.iter().any(|known| is_same_key(known, &encryption.key)) {
        findings.push(Finding::fails(
            format!("new volumes are encrypted with {}, which the functions may not use", encryption.key),
            "EC2 takes the launch of a builder and ends it with Client.InvalidKMSKey or Client.InternalError",
            format!("make deploy PARAMETERS=\"BuilderKmsKeys={}\"", encryption.key),
        ));
    }
    let foreign =
        facts.caller.as_ref().ok().filter(|caller| {
            own && account_of(&encryption.key).is_some_and(|account| account != caller.account)
        });
    if let Some(caller) = foreign {
        findings.push(Finding::weaker(
            format!("new volumes are encrypted with a key of another account: {}", encryption.key),
            "Builders and every machine of an image work as long as that account lets this one use the key",
            format!("Let the key's policy allow account {}, and keep it so", caller.account),
        ));
    }
    for (pipeline, recipe) in facts.recipes() {
        let key = recipe.builder.volume.as_ref().and_then(|volume| volume.kms_key.as_deref());
        let Some(key) = key.filter(|key| *key != AWS_OWN) else { continue };
        // An alias or an id may be of any key that is named, so only a full name is judged against the list.
        let refused = match key.starts_with("arn:") && key.contains(":key/") {
            true => !keys.iter().any(|known| is_same_key(known, key)),
            false => keys.is_empty(),
        };
        if refused {
            findings.push(Finding::fails(
                format!("pipeline {pipeline} encrypts with {key}, which the functions may not use"),
                "EC2 takes the launch of its builder and ends it",
                "Name the key's ARN in the stack's parameter: make deploy PARAMETERS=\"BuilderKmsKeys=arn:…\"",
            ));
        }
    }
    let how = match (encryption.by_default, encryption.key.as_str()) {
        (false, _) => "new volumes are not encrypted by default".to_owned(),
        (true, key) => format!("new volumes are encrypted with {key}"),
    };
    Check::new(NAME, how, findings)
}

fn is_aws_own(key: &str) -> bool {
    key.ends_with(":alias/aws/ebs")
}

/// Whether two names are of one key: EC2 may say an id where the stack was told an ARN.
fn is_same_key(one: &str, other: &str) -> bool {
    let id = |key: &str| key.rsplit('/').next().unwrap_or(key).to_owned();
    id(one) == id(other)
}

fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

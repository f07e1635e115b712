//! Files of which only a part is the machine's own.

use std::fs;

use serde_json::Value;

use super::list::Edit;
use crate::machine::Machine;

/// What a file becomes.
#[derive(Debug, PartialEq, Eq)]
pub enum New {
    /// It has this content.
    Content(Vec<u8>),
    /// It goes.
    Gone,
}

/// Where cloud-init tells what the instance was started with.
const INSTANCE: &str = "/run/cloud-init/instance-data.json";

/// Where Debian's package checks the name of its initiator at each start; it refuses to start without a file.
const CHECKS: &[&str] = &["/usr/lib/open-iscsi/startup-checks.sh", "/lib/open-iscsi/startup-checks.sh"];

/// The text that makes Debian's package choose a name.
const GENERATE: &str = "GenerateName=yes\n";

/// What is to be done with a file of this content; none when nothing is.
pub fn new(machine: &Machine, edit: Edit, content: &[u8]) -> Option<New> {
    match edit {
        Edit::BuilderKeys => {
            let data = fs::read_to_string(machine.path(INSTANCE)).ok()?;
            without(content, &builder_keys(&serde_json::from_str(&data).ok()?))
        }
        Edit::SnapdState => unregistered(content),
        Edit::Initiator => {
            let debian = CHECKS.iter().any(|path| machine.path(path).exists());
            let text = String::from_utf8_lossy(content);
            let named = text.lines().any(|line| line.trim_start().starts_with("InitiatorName="));
            match (debian, named) {
                (_, false) => None,
                (true, true) => Some(New::Content(GENERATE.into())),
                (false, true) => Some(New::Gone),
            }
        }
    }
}

/// The keys of the key pair that the builder was launched with: of each, the part that tells it from all others.
fn builder_keys(instance: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for place in ["/v1/public_ssh_keys", "/ds/meta_data/public-keys", "/ds/meta_data/public_keys"] {
        collect(instance.pointer(place).unwrap_or(&Value::Null), &mut keys);
    }
    keys
}

fn collect(value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            keys.extend(text.split_whitespace().find(|word| is_key(word)).map(str::to_owned));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
        Value::Object(map) => map.values().for_each(|value| collect(value, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Every public key of OpenSSH begins with the length of its kind's name, in base64.
fn is_key(word: &str) -> bool {
    word.starts_with("AAAA") && word.len() > 32
}

/// A list of keys without these. A comment in it may be in any encoding.
fn without(content: &[u8], keys: &[String]) -> Option<New> {
    let is_builders = |line: &&[u8]| {
        line.split(u8::is_ascii_whitespace).any(|word| keys.iter().any(|key| key.as_bytes() == word))
    };
    let rest: Vec<u8> = content
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_builders(line))
        .flatten()
        .copied()
        .collect();
    (rest != content).then_some(New::Content(rest))
}

/// snapd's state without the registration of this device, as its own `forget` leaves it.
fn unregistered(content: &[u8]) -> Option<New> {
    let mut state: Value = serde_json::from_slice(content).ok()?;
    let device = state.pointer_mut("/data/auth/device")?.as_object_mut()?;
    let own = ["serial", "key-id", "session-macaroon"];
    let before = device.len();
    device.retain(|key, _| !own.contains(&key.as_str()));
    (device.len() < before).then(|| New::Content(state.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BUILDER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBUILDERbuilderBUILDERbuilderBUILDERbuilder";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOTHERotherOTHERotherOTHERotherOTHERotherOTH";

    #[test]
    fn the_builder_s_keys_go_and_all_others_stay() {
        let text = format!(
            "# team\nssh-ed25519 {OTHER} team\nno-pty,command=\"echo 'no' ;sleep 10\" ssh-ed25519 {BUILDER} pair\n"
        );
        for data in [
            json!({ "v1": { "public_ssh_keys": [format!("ssh-ed25519 {BUILDER} pair")] } }),
            json!({ "ds": { "meta_data": { "public-keys": { "0": { "openssh-key": format!("ssh-ed25519 {BUILDER}") } } } } }),
        ] {
            let expected = New::Content(format!("# team\nssh-ed25519 {OTHER} team\n").into());
            assert_eq!(without(text.as_bytes(), &builder_keys(&data)), Some(expected));
        }
        assert_eq!(without(text.as_bytes(), &builder_keys(&json!({}))), None);
        let latin =
            [b"ssh-ed25519 x Jos\xe9\n".as_slice(), format!("ssh-ed25519 {BUILDER}\n").as_bytes()].concat();
        assert_eq!(without(&latin, &[BUILDER.into()]), Some(New::Content(b"ssh-ed25519 x Jos\xe9\n".into())));
    }

    #[test]
    fn snapd_forgets_its_device_and_no_snap() {
        let state = json!({
            "data": {
                "auth": { "last-id": 1, "device": { "brand": "generic", "model": "generic-classic", "serial": "s",
                    "key-id": "k", "session-macaroon": "m" } },
                "snaps": { "core22": { "current": "1" } },
            },
            "last-task-id": 7,
        });
        let Some(New::Content(text)) = unregistered(state.to_string().as_bytes()) else {
            panic!("nothing changed")
        };
        let new: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(new["data"]["auth"]["device"], json!({ "brand": "generic", "model": "generic-classic" }));
        assert_eq!(new["data"]["snaps"], state["data"]["snaps"]);
        assert_eq!(unregistered(&text), None);
        assert_eq!(unregistered(b"{"), None);
    }

    #[test]
    fn an_initiator_gets_a_name_of_its_own_in_the_way_of_its_base() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let named = "# DO NOT EDIT\nInitiatorName=iqn.1993-08.org.debian:01:1\n";
        assert_eq!(new(&machine, Edit::Initiator, named.as_bytes()), Some(New::Gone));
        let checks = machine.path(CHECKS[0]);
        fs::create_dir_all(checks.parent().unwrap()).unwrap();
        fs::write(checks, "").unwrap();
        assert_eq!(new(&machine, Edit::Initiator, named.as_bytes()), Some(New::Content(GENERATE.into())));
        assert_eq!(new(&machine, Edit::Initiator, GENERATE.as_bytes()), None);
    }
}

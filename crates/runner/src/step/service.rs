//! `service`: a systemd unit from fields, enabled and started as asked.

use anyhow::Result;
use ovenbird_core::{recipe::Unit, report::Exit};

use super::{Try, file};

pub fn act(
    this: &mut Try<'_>,
    name: &str,
    unit: Option<&Unit>,
    enabled: bool,
    started: bool,
) -> Result<Exit> {
    let mut orders = Vec::new();
    if let Some(unit) = unit {
        file::write(this, &format!("/etc/systemd/system/{name}.service"), text(name, unit))?;
        orders.push(vec!["daemon-reload"]);
    }
    orders.push(vec![if enabled { "enable" } else { "disable" }, "--", name]);
    if started {
        orders.push(vec!["restart", "--", name]);
    }
    for words in orders {
        let mut command = this.command("systemctl")?;
        command.args(words);
        let exit = this.run(command)?;
        if !exit.is_success() {
            // systemctl itself only says where to look, and soon nobody can.
            let mut command = this.command("systemctl")?;
            command.args(["status", "--no-pager", "--full", "--lines=20", "--", name]);
            this.run(command)?;
            return Ok(exit);
        }
    }
    Ok(Exit::Status(0))
}

/// The unit's text; the recipe's parser has refused line breaks in every value.
fn text(name: &str, unit: &Unit) -> String {
    let mut text = format!("[Unit]\nDescription={name}\n");
    for after in &unit.after {
        text.push_str(&format!("After={after}\nWants={after}\n"));
    }
    text.push_str(&format!("\n[Service]\nExecStart={}\nRestart=on-failure\n", unit.exec));
    if let Some(user) = &unit.user {
        text.push_str(&format!("User={user}\n"));
    }
    if let Some(folder) = &unit.working_directory {
        text.push_str(&format!("WorkingDirectory={folder}\n"));
    }
    for (key, value) in &unit.environment {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        text.push_str(&format!("Environment=\"{key}={value}\"\n"));
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ovenbird_core::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn unit() -> Unit {
        Unit {
            exec: "/bin/true".into(),
            user: None,
            working_directory: None,
            environment: [("A".to_owned(), "x \"y\" 100%".to_owned())].into(),
            after: vec!["network.target".into()],
        }
    }

    #[test]
    fn an_environment_value_stays_one_value() {
        assert!(text("shop", &unit()).contains("Environment=\"A=x \\\"y\\\" 100%%\"\n"));
    }

    #[test]
    fn the_unit_is_written_enabled_and_started_in_this_order() {
        let stage = Stage::new();
        stage.program("usr/bin/systemctl", "echo \"$@\"\n");
        let service =
            |unit, enabled, started| Action::Service { name: "shop".into(), unit, enabled, started };
        let (exit, output) = stage.act(service(Some(unit()), true, true));
        assert_eq!(
            (exit, output.as_str()),
            (Exit::Status(0), "daemon-reload\nenable -- shop\nrestart -- shop")
        );
        let written = fs::read_to_string(stage.machine.path("/etc/systemd/system/shop.service")).unwrap();
        assert_eq!(written, text("shop", &unit()));
        assert_eq!(stage.act(service(None, false, false)).1, "disable -- shop");
    }

    #[test]
    fn the_first_failure_is_the_step_s() {
        let stage = Stage::new();
        stage.program("usr/bin/systemctl", "echo \"$1\"; test \"$1\" != enable\n");
        let (exit, output) =
            stage.act(Action::Service { name: "shop".into(), unit: None, enabled: true, started: true });
        assert_eq!((exit, output.as_str()), (Exit::Status(1), "enable\nstatus"));
    }
}

//! `ovenbird local open`: ports of machines that are reachable on this host.

use std::process::ExitCode;

use ovenbird_core::Result;
use ovenbird_local::{Forward, Options};

use super::failed;
use crate::{FAILED, complete, print, target::Target};

/// Which port of which machine is opened, or closed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ovenbird local open i-0123456789abcdef0 8080            at a free port of this host
  ovenbird local open i-0123456789abcdef0 18080:8080
  ovenbird local open --list
  ovenbird local open i-0123456789abcdef0 --close         all of its ports")]
pub struct OpenArgs {
    /// The instance's id, as `ovenbird local status` prints it
    #[arg(required_unless_present = "list", add = complete::machines())]
    instance: Option<String>,
    /// The port in the machine, after one of this host if you want a certain one: `80`, `8080:80`
    #[arg(value_name = "[PORT:]MACHINE_PORT", required_unless_present_any = ["list", "close"])]
    ports: Option<Ports>,
    /// List the ports that are open
    #[arg(long, conflicts_with_all = ["instance", "ports", "close"])]
    list: bool,
    /// Close this port of the machine, or all of its ports; connections that are there go on
    #[arg(long)]
    close: bool,
}

/// A port of a machine, and the one on this host that leads to it: `80`, `8080:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    here: Option<u16>,
    machine: u16,
}

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let port = |text: &str| match text.parse() {
            Ok(0) | Err(_) => {
                Err(format!("`{text}` is no port: write the machine's, as in `80`, or both, as in `8080:80`"))
            }
            Ok(port) => Ok(port),
        };
        match text.split_once(':') {
            Some((here, machine)) => Ok(Self { here: Some(port(here)?), machine: port(machine)? }),
            None => Ok(Self { here: None, machine: port(text)? }),
        }
    }
}

/// `ovenbird local open`: a forward lasts as long as its machine.
pub async fn open(args: &OpenArgs, target: &Target, json: bool) -> Result<ExitCode> {
    let options = Options::new(target.port);
    let done = match (&args.instance, args.ports) {
        (Some(instance), Some(Ports { here, machine: port })) if !args.close => {
            ovenbird_local::open(&options, instance, port, here).await.map(|forward| {
                print(json, &forward, &forward.address.to_string());
                if !json {
                    crate::tell!("leads to {instance} port {port} while that machine runs");
                }
                ExitCode::SUCCESS
            })
        }
        (Some(instance), ports) => {
            ovenbird_local::close(&options, instance, ports.map(|ports| ports.machine)).await.map(|closed| {
                print(
                    json,
                    &closed,
                    &if closed.is_empty() { String::new() } else { forwards(&closed, "closed ") },
                );
                match closed.is_empty() {
                    true => {
                        crate::tell!("nothing of {instance} was open: `ovenbird local open --list`");
                        ExitCode::from(FAILED)
                    }
                    false => ExitCode::SUCCESS,
                }
            })
        }
        (None, _) => ovenbird_local::status(&options).await.map(|status| {
            let text = match status.forwards.is_empty() {
                true => "no port is open".to_owned(),
                false => forwards(&status.forwards, ""),
            };
            print(json, &status.forwards, &text);
            ExitCode::SUCCESS
        }),
    };
    Ok(done.unwrap_or_else(|error| failed(&error, json)))
}

/// Ports of machines, a line each.
pub fn forwards(all: &[Forward], before: &str) -> String {
    let line = |one: &Forward| format!("{before}{} leads to {} port {}", one.address, one.instance, one.port);
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::Ports;

    #[test]
    fn a_port_of_this_host_stands_before_the_machine_s() {
        assert_eq!("80".parse(), Ok(Ports { here: None, machine: 80 }));
        assert_eq!("8080:80".parse(), Ok(Ports { here: Some(8080), machine: 80 }));
        for wrong in ["", ":80", "80:", "0", "8080:80:1", "70000", "http"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong}");
        }
    }
}

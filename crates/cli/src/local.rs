//! `ovenbird local`: the local cloud, from an operator's side.

mod logs;
mod open;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal as _,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;
use jiff::SignedDuration;
use ovenbird_core::{
    Result,
    domain::{id::InstanceId, plan::quote},
    views::error::{ErrorView, Failed},
};
use ovenbird_local::{
    Credentials, DiskUse, Event, Imported, InstanceStatus, LocalError, Options, ResetPlan, RunningCloud,
    Status,
};
use serde::Serialize;

use self::open::forwards;
pub use self::open::{OpenArgs, open};
use crate::{FAILED, complete, confirm::asked, print, render, target::Target};

/// The exit status of a wrong use.
const WRONG_USE: u8 = 2;

/// How long a local cloud may take to say what it does.
const ANSWER: Duration = Duration::from_secs(2);

const IMPORT_HELP: &str = "\
Example, for Debian 13:
  mmdebstrap --variant=apt --include=systemd-sysv,dbus,cloud-init,curl,ca-certificates,iproute2 \\
    trixie debian-13.tar http://deb.debian.org/debian
  ovenbird local import debian-13.tar --name debian-13";

/// What can be done with the local cloud.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start the local cloud, and deploy the stack to it
    Up {
        /// The checkout of Ovenbird whose stack is deployed (default: the one around this folder, or this program)
        #[arg(long, value_name = "FOLDER")]
        repository: Option<PathBuf>,
    },
    /// Stop the local cloud: show which machines and bakes end with it, then ask; bucket, table and images stay
    Down {
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Show the endpoint, the memory that it takes, and the instances
    Status,
    /// List the local clouds that run on this machine
    List,
    /// Show what the local cloud takes of the disk
    Df,
    /// Stop the local cloud and destroy all but the base image and the key: show what that is, then ask
    Reset {
        /// Do it without asking
        #[arg(long)]
        yes: bool,
        /// Show what would be destroyed, and destroy nothing
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
    /// Make an image of a root file system, as another base: print its id
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// An archive that `tar` reads, or a folder, of a whole system with an init
        #[arg(value_name = "ROOT")]
        root: PathBuf,
        /// The image's name, by which a recipe finds it: `[base] newest = { owner = "self", name = "NAME" }`
        #[arg(long)]
        name: String,
    },
    /// Print the variables that let AWS's own tools talk to it: eval "$(ovenbird local env)"
    Env,
    /// Show where the logs are, or what a function or a machine said
    Logs {
        /// A function, such as `promote`, or an instance's id, whose console is shown (default: where the logs are)
        #[arg(value_name = "FUNCTION_OR_INSTANCE", add = complete::machines())]
        of: Option<String>,
        /// Go on, and print what comes
        #[arg(long, short, requires = "of")]
        follow: bool,
        /// Only what a function logged within this time, such as `10m`
        #[arg(long, value_name = "TIME", value_parser = render::duration, default_value = "1h")]
        since: SignedDuration,
    },
    /// Open a shell in a machine, as its root, or run one command
    Shell {
        /// The instance's id, as `ovenbird local status` prints it
        #[arg(add = complete::machines())]
        instance: String,
        /// The command and its arguments (default: a login shell)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Take a spot instance back, as EC2 does: it gets the notice now, and is terminated two minutes later
    Interrupt {
        /// The instance's id, as `ovenbird local status` prints it
        #[arg(add = complete::machines())]
        instance: String,
        /// How many seconds after the notice it is terminated; EC2 gives two minutes
        #[arg(long = "in", value_name = "SECONDS", default_value_t = 120)]
        seconds: u32,
    },
    /// Make a port of a machine reachable on this host and print the address; list such ports, or close them
    Open(OpenArgs),
    /// The supervisor itself, which `up` starts
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        options: String,
    },
}

/// The first process of a machine is this program again: it has its own entry, before anything else.
pub fn hidden() -> Option<ExitCode> {
    ovenbird_local::hidden_main()
}

/// Carries out a command; failures are shown here, because they are the local cloud's own.
pub async fn run(command: &LocalCommand, target: &Target, json: bool) -> Result<ExitCode> {
    let mut options = Options::new(target.port);
    options.stack.clone_from(&target.stack);
    let done = match command {
        LocalCommand::Shell { instance, command } => {
            return Ok(shell(&options, instance, command).await.unwrap_or_else(|error| failed(&error, json)));
        }
        LocalCommand::Open(args) => return open(args, target, json).await,
        LocalCommand::Up { repository } => {
            if let Some(folder) = repository {
                options.repository =
                    Some(folder.clone()).filter(|it| it.join("infra/template.yaml").is_file());
            }
            if options.repository.is_none() {
                return Ok(failed(&LocalError::NoRepository, json));
            }
            ovenbird_local::up(&options, |event| tell(event, json)).await.map(|status| show(&status, json))
        }
        LocalCommand::List => {
            let running = ovenbird_local::running();
            print(json, &running, &list(&running));
            Ok(())
        }
        LocalCommand::Df => {
            ovenbird_local::disk_use(&options).map(|found| print(json, &found, &disk_use(&found)))
        }
        LocalCommand::Down { yes } => {
            return Ok(down(&options, *yes, json).await.unwrap_or_else(|error| failed(&error, json)));
        }
        LocalCommand::Status => ovenbird_local::status(&options).await.map(|status| show(&status, json)),
        LocalCommand::Reset { yes, dry_run } => {
            let done = reset(&options, *yes, *dry_run, json).await;
            return Ok(done.unwrap_or_else(|error| failed(&error, json)));
        }
        LocalCommand::Import { root, name } => {
            ovenbird_local::import(&options, root, name).await.map(|done| imported(&done, json))
        }
        LocalCommand::Interrupt { instance, seconds } => {
            ovenbird_local::interrupt(&options, instance, *seconds).await.map(|done| {
                let text = format!("{} has its notice, and is terminated in {seconds} s", done.instance);
                print(json, &done, &text);
            })
        }
        LocalCommand::Env => env(&options, json),
        LocalCommand::Logs { of: Some(of), follow, since } => {
            let local = Target { local: true, ..target.clone() };
            match InstanceId::parse(of) {
                Ok(instance) => return logs::console(&instance, *follow, &local, json).await,
                Err(_) => logs::function(&options, of, *since, *follow, json).await,
            }
        }
        LocalCommand::Logs { of: None, .. } => {
            let paths = ovenbird_local::logs_path(&options);
            let lines: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            print(json, &paths, &lines.join("\n"));
            Ok(())
        }
        LocalCommand::Serve { options } => match serde_json::from_str(options) {
            Ok(options) => ovenbird_local::serve(options).await,
            Err(source) => Err(LocalError::Corrupt { path: "--options".into(), source: Box::new(source) }),
        },
    };
    Ok(done.map_or_else(|error| failed(&error, json), |()| ExitCode::SUCCESS))
}

/// Its exit status is the command's.
async fn shell(options: &Options, instance: &str, command: &[String]) -> Result<ExitCode, LocalError> {
    let mut shell = ovenbird_local::shell(options, instance, command).await?;
    let status =
        shell.status().map_err(|source| LocalError::Io { operation: "run setpriv".into(), source })?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)))
}

/// Shows what would end at its work, and ends the local cloud once that is wanted.
async fn down(options: &Options, yes: bool, json: bool) -> Result<ExitCode, LocalError> {
    // One that doesn't answer is ended without a question: nothing can be said of what it does.
    let asked = tokio::time::timeout(ANSWER, ovenbird_local::status(options));
    let instances = match asked.await {
        Ok(Ok(status)) => status.instances,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let at_work = will_end(&instances);
    if let Some(text) = at_work.filter(|_| !yes) {
        crate::tell!("{text}");
        if let Err(code) = agreed("Stop the local cloud?", "nothing was stopped", "stop it") {
            return Ok(code);
        }
    }
    let was_up = ovenbird_local::down(options).await?;
    print(json, &Downed { was_up }, if was_up { "the local cloud is down" } else { "no local cloud was up" });
    Ok(ExitCode::SUCCESS)
}

/// Which machines and bakes end with the local cloud; none when nothing is at work.
fn will_end(instances: &[InstanceStatus]) -> Option<String> {
    let running: Vec<_> = instances.iter().filter(|one| one.process.is_some()).collect();
    if running.is_empty() {
        return None;
    }
    let bakes: BTreeSet<_> = running.iter().filter_map(|one| one.bake.as_deref()).collect();
    let mut text = "With the local cloud, these end:".to_owned();
    for bake in bakes {
        text.push_str(&format!("\n  bake {bake}, which is under way"));
    }
    for one in running {
        let of = one.pipeline.iter().chain(&one.role).map(String::as_str).collect::<Vec<_>>().join(" ");
        let of = if of.is_empty() { String::new() } else { format!(" ({of})") };
        text.push_str(&format!("\n  instance {}{of}", one.instance));
    }
    Some(text)
}

/// Whether the person at the terminal agrees; the exit status when not, which was told.
fn agreed(question: &str, nothing: &str, what: &str) -> std::result::Result<(), ExitCode> {
    if !std::io::stdin().is_terminal() {
        crate::tell!(
            "\nerror: {nothing}, because there is no terminal to ask on\n\nhint: Pass `--yes` to {what} without a question"
        );
        return Err(ExitCode::from(WRONG_USE));
    }
    if !asked(&format!("\n{question}")) {
        crate::tell!("{nothing}");
        return Err(ExitCode::from(FAILED));
    }
    Ok(())
}

/// Shows what a reset destroys, and does it once it is wanted.
async fn reset(options: &Options, yes: bool, dry_run: bool, json: bool) -> Result<ExitCode, LocalError> {
    let plan = ResetPlan::of(options)?;
    if plan.is_empty() {
        print(json, &plan, &format!("there is nothing to destroy in {}", plan.home.display()));
        return Ok(ExitCode::SUCCESS);
    }
    if dry_run {
        print(json, &plan, &will_be_gone(&plan));
        return Ok(ExitCode::SUCCESS);
    }
    if !yes {
        crate::tell!("{}", will_be_gone(&plan));
        if let Err(code) = agreed("Destroy this?", "nothing was destroyed", "destroy it") {
            return Ok(code);
        }
    }
    ovenbird_local::reset(options).await?;
    let done = "the local cloud is down; all but its base image and its key was destroyed";
    print(json, &plan, done);
    Ok(ExitCode::SUCCESS)
}

fn will_be_gone(plan: &ResetPlan) -> String {
    let mut text = format!("A reset of the local cloud in {} destroys:", plan.home.display());
    if plan.running {
        text.push_str("\n  the running local cloud, with all that is at work in it");
    }
    for instance in &plan.instances {
        text.push_str(&format!("\n  instance {instance}"));
    }
    for image in &plan.images {
        text.push_str(&format!("\n  image {} ({})", image.image, image.name));
    }
    if plan.unreadable {
        text.push_str("\n  instances and images whose list can't be read");
    }
    for folder in &plan.folders {
        let mib = folder.bytes.div_ceil(1024 * 1024);
        text.push_str(&format!("\n  {} ({mib} MiB): {}", folder.path.display(), folder.holds));
    }
    text
}

/// Shows the image that was made of a root.
fn imported(done: &Imported, json: bool) {
    print(json, done, &done.image);
    if !json {
        crate::tell!(
            "its machines begin with {}; a recipe's base is `newest = {{ owner = \"self\", name = \"{}\" }}`",
            done.init,
            done.name
        );
    }
}

/// What a shell must have for AWS's own tools to talk to the local cloud.
fn env(options: &Options, json: bool) -> Result<(), LocalError> {
    let Credentials { access_key, secret, .. } = Credentials::of(&options.home)?;
    let (endpoint, config) = (options.endpoint(), options.home.aws_config().display().to_string());
    let variables = [
        ("AWS_ACCESS_KEY_ID", access_key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_CONFIG_FILE", config.as_str()),
    ];
    let mut lines: Vec<String> =
        variables.iter().map(|(name, value)| format!("export {name}={}", quote(value))).collect();
    // Of an account of AWS's, these would go with the wrong key.
    lines.push("unset AWS_SESSION_TOKEN AWS_PROFILE".to_owned());
    let variables: BTreeMap<_, _> = variables.into_iter().collect();
    print(json, &variables, &lines.join("\n"));
    Ok(())
}

fn failed(error: &LocalError, json: bool) -> ExitCode {
    if json {
        print(true, &Failed { error: ErrorView::new(error.name(), error, error.hint()) }, "");
    }
    let mut text = format!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!("\n  caused by: {cause}"));
        source = cause.source();
    }
    crate::tell!("{text}\n\nhint: {}", error.hint());
    ExitCode::from(FAILED)
}

fn tell(event: &Event, json: bool) {
    match event {
        _ if json => {}
        Event::Begun { stage, note: Some(note) } => crate::tell!("  {stage:<10} {note}"),
        Event::Begun { note: None, .. } | Event::Failed { .. } => {}
        Event::Done { stage, seconds, note } => {
            let stage = stage.to_string();
            crate::tell!("  {stage:<10} {seconds:>6.1} s  {}", note.as_deref().unwrap_or_default());
        }
        Event::Weaker { stage, text } => crate::tell!("  {:<10} warning: {text}", stage.to_string()),
        Event::Ready { seconds } => crate::tell!("  {:<10} {seconds:>6.1} s", "ready"),
    }
}

fn show(status: &Status, json: bool) {
    print(json, status, &text(status));
}

fn text(status: &Status) -> String {
    let mut text = format!("{} in {}, process {}\n", status.endpoint, status.home.display(), status.pid);
    let memory = &status.memory;
    text.push_str(&format!(
        "memory: {:.0} MiB (supervisor {:.0}, MiniStack {:.0}, functions {:.0}, network {:.0}, balancer {:.0}); {} images",
        memory.total(),
        memory.supervisor,
        memory.ministack,
        memory.functions,
        memory.network,
        memory.balancer,
        status.images
    ));
    let instances = render::columns(status.instances.iter().map(|one| {
        let address = one.address.as_deref().unwrap_or("-").to_owned();
        let of = one.pipeline.as_deref().unwrap_or("-").to_owned();
        let role = one.role.clone().unwrap_or_default();
        [one.instance.clone(), one.state.clone(), address, one.image.clone(), of, role]
    }));
    if !instances.is_empty() {
        text.push_str(&format!("\n{instances}"));
    }
    if !status.forwards.is_empty() {
        text.push_str(&format!("\n{}", forwards(&status.forwards, "")));
    }
    text
}

/// What became of `local down`.
#[derive(Debug, Serialize)]
struct Downed {
    /// Whether there was a local cloud to end.
    was_up: bool,
}

fn list(running: &[RunningCloud]) -> String {
    if running.is_empty() {
        return "no local cloud runs on this machine".to_owned();
    }
    let head = ["PORT", "HOME", "STACK", "PROCESS"];
    render::table(
        head,
        running.iter().map(|one| {
            [one.port.to_string(), one.home.display().to_string(), one.stack.clone(), one.pid.to_string()]
        }),
    )
}

fn disk_use(found: &DiskUse) -> String {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1024 * 1024));
    let rows = found
        .folders
        .iter()
        .map(|folder| [mib(folder.bytes), folder.path.display().to_string(), folder.holds.clone()]);
    let total = [mib(found.bytes), found.home.display().to_string(), "all of it".to_owned()];
    render::columns(rows.chain([total]))
}

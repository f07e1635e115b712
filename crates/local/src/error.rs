//! What can go wrong with the local cloud itself, as an operator is told it.

use std::{io, path::PathBuf};

use crate::progress::Stage;

/// The result of running or asking the local cloud.
pub type Result<T, E = LocalError> = std::result::Result<T, E>;

/// A failure of the local cloud.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The machine lacks something that the local cloud needs.
    #[error("the local cloud can't run here: {}", missing.join("; "))]
    Missing {
        /// What is missing, one item each.
        missing: Vec<String>,
        /// The commands that get it.
        fix: String,
    },
    /// Nothing answers on the port.
    #[error("no local cloud answers on port {port}")]
    NotUp {
        /// The port that was tried.
        port: u16,
    },
    /// No such machine runs here.
    #[error("instance `{instance}` {problem}")]
    NoMachine {
        /// The instance asked for.
        instance: String,
        /// What it is instead.
        problem: String,
    },
    /// The home has no key: no local cloud was started in it.
    #[error("no local cloud was ever started in {}", home.display())]
    NoKeys {
        /// The folder in which no key is.
        home: PathBuf,
    },
    /// The home is another user's.
    #[error("{} belongs to another user, and so does the key of its local cloud", home.display())]
    NotYours {
        /// The folder that belongs to another user.
        home: PathBuf,
    },
    /// The file with the operator's key was changed.
    #[error("{} has no aws_access_key_id and aws_secret_access_key", path.display())]
    BadKeys {
        /// The file that was read.
        path: PathBuf,
    },
    /// The home's path is too long for a socket in it.
    #[error("the path {} is too long for a socket in it", home.display())]
    LongHome {
        /// The folder whose path is too long.
        home: PathBuf,
    },
    /// What answers on the port does not know the home's key.
    #[error("what answers on port {port} does not know the key in {}", home.display())]
    Stranger {
        /// The port that was tried.
        port: u16,
        /// The folder whose key was used.
        home: PathBuf,
    },
    /// Another program has the port.
    #[error("port {port} is taken")]
    PortTaken {
        /// The port that the endpoint wants.
        port: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another program listens on the port.
    #[error("port {port} is taken by {program} (process {pid})")]
    PortOf {
        /// The port that the endpoint wants.
        port: u16,
        /// The program's name.
        program: String,
        /// Its process.
        pid: u32,
    },
    /// Another supervisor uses the same home.
    #[error("a local cloud already runs in {}{at}", home.display())]
    HomeTaken {
        /// The folder that both would use.
        home: PathBuf,
        /// Where it runs, as ` (port 4566, process 123)`; empty when that isn't known.
        at: String,
    },
    /// It is up already, and has one stack.
    #[error("the local cloud is up already, with the stack `{has}`")]
    OtherStack {
        /// The stack that is deployed to it.
        has: String,
        /// The stack that was to be deployed.
        wanted: String,
    },
    /// There is nothing to deploy.
    #[error("there is no infra/template.yaml here, in a folder above, or around this program")]
    NoRepository,
    /// The supervisor ended, or gave up, while it was starting.
    #[error("the local cloud failed at {stage}: {reason}")]
    Start {
        /// How far it had come.
        stage: Stage,
        /// What it said.
        reason: String,
        /// What it advised.
        hint: String,
    },
    /// A file, process or socket failed.
    #[error("{operation}")]
    Io {
        /// What was being done, to what.
        operation: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file that Ovenbird wrote itself can't be read.
    #[error("{} can't be read", path.display())]
    Corrupt {
        /// The file that was read.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `MiniStack` ended or never answered.
    #[error("MiniStack {problem}")]
    MiniStack {
        /// What it did, or didn't do.
        problem: String,
        /// The file with its log.
        log: PathBuf,
    },
    /// A request to the endpoint did not reach it.
    #[error("request {request}")]
    Request {
        /// Method and path.
        request: String,
        /// Why no answer came: a refused connection, a broken one.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request was answered with an error.
    #[error("{request} was answered with {status}: {body}")]
    Refused {
        /// Method and path, or service and operation.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The cloud refused to make an image of a root file system.
    #[error("no image `{name}` was made: {problem}")]
    NotImported {
        /// The name that the image was to have.
        name: String,
        /// Why not.
        problem: String,
    },
    /// A root file system could not become an image.
    #[error("{} can't become an image", root.display())]
    Import {
        /// The archive or the folder.
        root: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The stack could not be deployed.
    #[error("deploying {what}: {problem}")]
    Deploy {
        /// The resource or file.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl LocalError {
    /// The command or setting that fixes it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { fix, .. } => fix.clone(),
            Self::NotUp { .. } => "Start it with `ovenbird local up`, or pass its `--port`".into(),
            Self::NoKeys { .. } => {
                "Start it with `ovenbird local up`, or set OVENBIRD_HOME to its folder".into()
            }
            Self::NotYours { .. } => {
                "Run this as that user (`sudo`), or take the key into this shell: `eval \"$(sudo ovenbird local env)\"`".into()
            }
            Self::BadKeys { path } => {
                format!("Stop it with `ovenbird local down`, delete {}, and start it again: it then makes a new key", path.display())
            }
            Self::LongHome { .. } => "Set OVENBIRD_HOME to a path of at most 88 characters".into(),
            Self::Stranger { .. } => {
                "Another folder's local cloud, or another program, has this port: set OVENBIRD_HOME to that folder, or pass \
                 another `--port`"
                    .into()
            }
            Self::NoMachine { .. } => "`ovenbird local status` lists the machines that run".into(),
            Self::PortTaken { .. } | Self::PortOf { .. } => "Stop the program that listens there, or pass another `--port`".into(),
            Self::HomeTaken { .. } => {
                "Stop it with `ovenbird local down`, or set OVENBIRD_HOME to another folder for this one"
                    .into()
            }
            Self::OtherStack { has, wanted } => format!(
                "To have `{wanted}` deployed: `ovenbird local down`, then `ovenbird --stack {wanted} local up`; for `{has}`, \
                 pass `--stack {has}`"
            ),
            Self::NoRepository => "Go to the checkout of Ovenbird, or name it: `--repository FOLDER`".into(),
            Self::Start { hint, .. } => hint.clone(),
            Self::MiniStack { log, .. } => format!("Read {}", log.display()),
            Self::Corrupt { path, .. } => {
                format!("Fix {}, or destroy everything and start anew: `ovenbird local reset`", path.display())
            }
            Self::Io { .. } | Self::Request { .. } | Self::Refused { .. } => {
                "Read the local cloud's logs: `ovenbird local logs` prints where they are".into()
            }
            Self::NotImported { .. } => {
                "Give it another name, or deregister the image that has this one: `aws ec2 describe-images --owners self`".into()
            }
            Self::Import { .. } => {
                "Give it an archive of a whole root file system with an init, or the folder of one: docs/local-cloud.md says how to \
                 make one"
                    .into()
            }
            Self::Deploy { .. } => {
                "Build the functions with `make build`, then run `ovenbird local up` again".into()
            }
        }
    }

    /// Its name, for scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "LocalMissing",
            Self::NotUp { .. } => "LocalNotUp",
            Self::NoMachine { .. } => "LocalNoMachine",
            Self::NoKeys { .. } | Self::NotYours { .. } | Self::BadKeys { .. } => "LocalNoKeys",
            Self::PortTaken { .. } | Self::PortOf { .. } | Self::Stranger { .. } => "LocalPortTaken",
            Self::HomeTaken { .. } | Self::LongHome { .. } => "LocalHome",
            Self::NoRepository | Self::OtherStack { .. } | Self::Deploy { .. } => "LocalDeploy",
            Self::Start { .. } | Self::MiniStack { .. } => "LocalStart",
            Self::Import { .. } | Self::NotImported { .. } => "LocalImport",
            Self::Io { .. } | Self::Corrupt { .. } | Self::Request { .. } | Self::Refused { .. } => "LocalIo",
        }
    }

    /// A function that gives an I/O error its operation.
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

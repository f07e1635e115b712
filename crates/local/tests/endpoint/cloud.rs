//! A local cloud with `MiniStack` and simulated machines.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ovenbird_local::{Credentials, Home, LocalError, Machines, Options};
use ovenbird_sim::Validation;

/// A local cloud in this process, on a home of its own.
pub struct Cloud {
    pub options: Options,
    supervisor: Option<JoinHandle<Result<(), LocalError>>>,
}

impl Cloud {
    pub fn start(options: Options) -> Self {
        let served = options.clone();
        let supervisor = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            runtime.block_on(ovenbird_local::serve(served))
        });
        Self { options, supervisor: Some(supervisor) }.when_ready()
    }

    /// A local cloud whose supervisor another process is.
    pub fn served_by_another(options: Options) -> Self {
        Self { options, supervisor: None }.when_ready()
    }

    fn when_ready(self) -> Self {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !self.ask(ovenbird_local::status(&self.options)).is_ok_and(|status| status.ready) {
            let ended = self.supervisor.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!ended && Instant::now() < deadline, "it doesn't get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    pub fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(question)
    }

    /// A client from the Python environment.
    pub fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.options.home.python().with_file_name(name));
        let key = Credentials::of(&self.options.home).expect("the operator's key");
        command.env_remove("AWS_PROFILE").env("AWS_CONFIG_FILE", self.options.home.aws_config()).envs([
            ("AWS_ENDPOINT_URL", self.options.endpoint().as_str()),
            ("AWS_ACCESS_KEY_ID", key.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", key.secret.as_str()),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_DEFAULT_OUTPUT", "text"),
            ("AWS_PAGER", ""),
        ]);
        command
    }

    pub fn aws_output(&self, arguments: &[&str]) -> Output {
        self.client("aws").args(arguments).output().expect("aws")
    }

    pub fn aws(&self, arguments: &[&str]) -> String {
        let output = self.aws_output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn down(self) {
        assert!(self.ask(ovenbird_local::down(&self.options)).expect("it ends"), "none ran");
        if let Some(supervisor) = self.supervisor {
            supervisor.join().expect("no panic").expect("a good end");
        }
    }
}

/// Options for a home with the usual Python environment; none, said out loud, when there is no such environment.
pub fn options(home: &Path) -> Option<Options> {
    let usual: PathBuf = Home::from_env().root().join("venv");
    if !usual.join("bin/ministack").is_file() {
        assert!(std::env::var_os("CI").is_none(), "{} has no MiniStack: `make setup`", usual.display());
        eprintln!("SKIPPED: {} has no MiniStack; `make setup` installs it", usual.display());
        return None;
    }
    symlink(usual, home.join("venv")).expect("a link");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let mut options = Options::new(port.expect("a port").port());
    options.home = Home::new(home);
    options.repository = None;
    options.machines = Machines::Simulated;
    options.parameters = Validation::AT_ONCE;
    Some(options)
}

//! A supervisor that is killed while a function is at work: the next one comes up at the first try, with all there was.

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ovenbird_local::Options;

use crate::cloud::{Cloud, options};

/// How the options get to the supervisor's process.
const OPTIONS: &str = "OVENBIRD_TEST_SUPERVISOR";

/// A function that tells that it is at work, and is for as long as it may be.
const AT_WORK: &str = "#!/bin/sh\ncurl -s http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next >/dev/null\n\
                       echo $$ > $AT_WORK\nsleep 600\n";

/// The supervisor's process: this program again, with this one test. Without the options it has nothing to do.
#[test]
#[ignore = "it is the process that another test kills"]
fn a_supervisor_until_it_is_killed() {
    let Ok(options) = std::env::var(OPTIONS) else { return };
    let options: Options = serde_json::from_str(&options).expect("options");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(ovenbird_local::serve(options)).expect("a good end");
}

fn supervisor(options: &Options) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "killed::a_supervisor_until_it_is_killed", "--ignored", "--nocapture"])
        .env(OPTIONS, serde_json::to_string(options).expect("JSON"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    command.spawn().expect("a supervisor")
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cloud_that_was_killed_while_a_function_works_comes_up_at_the_first_try() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(options) = options(folder.path()) else { return };
    let mut killed = supervisor(&options);
    let cloud = Cloud::served_by_another(options.clone());
    cloud.aws(&[
        "dynamodb",
        "create-table",
        "--table-name",
        "kept",
        "--billing-mode",
        "PAY_PER_REQUEST",
        "--attribute-definitions",
        "AttributeName=k,AttributeType=S",
        "--key-schema",
        "AttributeName=k,KeyType=HASH",
    ]);
    let at_work = folder.path().join("at-work");
    let zip = folder.path().join("function.zip");
    pack(&folder.path().join("bootstrap"), &zip);
    let environment = format!("Variables={{AT_WORK={}}}", at_work.display());
    let code = format!("fileb://{}", zip.display());
    cloud.aws(&[
        "lambda",
        "create-function",
        "--function-name",
        "works",
        "--runtime",
        "provided.al2023",
        "--handler",
        "bootstrap",
        "--role",
        "arn:aws:iam::123456789012:role/r",
        "--timeout",
        "900",
        "--zip-file",
        &code,
        "--environment",
        &environment,
    ]);
    let out = folder.path().join("answer");
    let mut invocation = cloud.client("aws");
    invocation.args(["lambda", "invoke", "--function-name", "works"]).arg(&out).stdout(Stdio::null());
    let mut invocation = invocation.stderr(Stdio::null()).spawn().expect("aws");
    until("the function works", || fs::read_to_string(&at_work).is_ok_and(|pid| pid.ends_with('\n')));
    let function: u32 = fs::read_to_string(&at_work).expect("its number").trim().parse().expect("a number");

    killed.kill().expect("killed");
    killed.wait().expect("dead");
    let start = Instant::now();
    let cloud = Cloud::start(options);
    let took = start.elapsed();
    assert_eq!(cloud.aws(&["dynamodb", "list-tables", "--query", "TableNames"]), "kept");
    until("the function's end", || !Path::new(&format!("/proc/{function}")).exists());
    assert!(took < Duration::from_secs(12), "it took {took:?}");
    eprintln!("up again after {:.1} s", took.as_secs_f64());
    let _ = invocation.kill().and_then(|()| invocation.wait().map(drop));
    cloud.down();
}

/// Packs the function by Python, as any developer would.
fn pack(program: &Path, zip: &Path) {
    fs::write(program, AT_WORK).expect("written");
    let script = "import sys, zipfile\ni = zipfile.ZipInfo('bootstrap'); i.external_attr = 0o100755 << 16\n\
                  zipfile.ZipFile(sys.argv[2], 'w').writestr(i, open(sys.argv[1]).read())";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(program).arg(zip);
    assert!(python.status().expect("python3").success());
    std::io::stderr().flush().expect("flushed");
}

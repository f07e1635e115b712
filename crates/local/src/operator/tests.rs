use std::{fs, net::TcpListener, thread};

use super::*;
use crate::auth::Keys;

/// A killed supervisor's socket takes connections for a moment, and its lock is held for as long.
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_dies_while_it_is_asked_keeps_no_other_from_coming_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(folder.path());
    home.prepare().expect("prepared");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    Keys::open(&home, &format!("http://127.0.0.1:{port}")).expect("keys");
    let lock = File::create(home.pid_file()).expect("a file");
    lock.lock().expect("locked");
    // Not this process: it has the port, and is not the supervisor that is looked for afterwards.
    fs::write(home.pid_file(), "1").expect("written");
    let asked = listener.try_clone().expect("the same port");
    let dying = thread::spawn(move || {
        drop(asked.accept().expect("the question"));
        thread::sleep(LOOK * 3);
        drop(lock);
    });
    let options = Options { home, ..Options::new(port) };
    let error = up(&options, |_| {}).await.expect_err("somebody else has the port");
    dying.join().expect("it died");
    assert!(matches!(error, LocalError::PortOf { .. }), "{error:?}");
}

//! Children that must not outlive this process.

use std::{
    io,
    sync::{LazyLock, mpsc},
    thread,
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

struct Order {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// The kernel sends the signal of a parent's death when the *thread* ends that made the child: this one never does.
static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for Order { mut command, runtime, answer } in inbox {
            let _context = runtime.enter();
            // Whoever doesn't wait for the child any more drops it, and with it its process.
            drop(answer.send(command.spawn()));
        }
    });
    orders
});

/// Starts a child that asks for a signal at its parent's death.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    let (answer, child) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    SPAWNER.send(Order { command, runtime: Handle::current(), answer }).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

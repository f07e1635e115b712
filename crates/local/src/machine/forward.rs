//! Sockets in a machine's network, held by the supervisor: no address of a machine is reachable from the host,
//! and nothing of the host from a machine, but through these.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    process::Stdio,
    time::Duration,
};

use axum::{Router, serve::ListenerExt as _};
use nix::sched::{CloneFlags, setns};
use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    process::Command,
    task::AbortHandle,
};

use super::spawn::spawn;

/// Does something in the network namespace of a process. A socket belongs to the namespace it was made in for ever.
pub(super) fn inside<T: Send + 'static>(
    pid: u32,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    // A thread of its own, which ends afterwards: nothing else may ever run in that namespace.
    let thread = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    });
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
}

/// Runs a program in the network namespace of a process, and gives it its input. Fails with what it says when it fails.
pub(crate) async fn run_inside(pid: u32, program: &[&str], input: &str) -> io::Result<()> {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = spawn(command).await?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever doesn't read it to its end says why by its exit.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", program.join(" "), text.trim())))
}

/// Listens on an address in the network namespace of a process.
pub(crate) fn listen_std(pid: u32, address: SocketAddr) -> io::Result<StdListener> {
    inside(pid, move || StdListener::bind(address))
}

/// Listens on an address of the machine.
pub(super) fn listen(pid: u32, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen_std(pid, address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves routes on a loopback port in the network namespace of a process.
pub(crate) fn serve_inside(pid: u32, port: u16, routes: Router) -> io::Result<AbortHandle> {
    let listener = listen(pid, (Ipv4Addr::LOCALHOST, port).into())?;
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
    });
    Ok(tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle())
}

/// Makes a port of the machine reachable on the host's loopback, at a port of one's choice or at a free one; gives the address
/// there.
pub async fn forward(
    pid: u32,
    address: Ipv4Addr,
    port: u16,
    wanted: Option<u16>,
) -> io::Result<(SocketAddr, AbortHandle)> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted.unwrap_or(0)));
    let listener = TcpListener::bind(wanted).await;
    let listener = listener.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            error.kind(),
            format!("{wanted} is taken: name another port, or none for a free one"),
        ),
        _ => error,
    })?;
    let here = listener.local_addr()?;
    let connect = move || async move {
        let stream = tokio::task::spawn_blocking(move || {
            inside(pid, move || StdStream::connect_timeout(&(address, port).into(), Duration::from_secs(5)))
        });
        let stream = stream.await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    };
    Ok((here, tokio::spawn(pump(listener, connect)).abort_handle()))
}

/// Connects from the network of a process to a port of an address there.
///
/// It takes as long as the kernel tries, which is minutes when nobody answers: the caller sets a limit.
pub async fn reach(pid: u32, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    // Only the socket is made in that network. To wait there would keep a thread for each connection.
    let socket = inside(pid, TcpSocket::new_v4)?;
    socket.connect((address, port).into()).await
}

async fn pump<F>(listener: TcpListener, connect: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = io::Result<TcpStream>> + Send + 'static,
{
    while let Ok((mut from, _)) = listener.accept().await {
        let connect = connect.clone();
        tokio::spawn(async move {
            // A refused connection closes this one: that is what the caller would have seen.
            if let Ok(mut to) = connect().await {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}

//! What a command says, read until the command ends: not until the last of its descendants has closed its output.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::task::JoinHandle;

/// What SSM keeps of each of a command's outputs, in bytes.
const KEPT: usize = 24_000;

/// What a pipe holds at most, in bytes: a command that has ended has left no more behind.
const PIPE: usize = 64 * 1024;

/// Both outputs of a command while it runs.
#[derive(Debug)]
pub(super) struct Outputs {
    /// Its other end sees that it is dropped, however that comes.
    running: OwnedFd,
    reader: JoinHandle<io::Result<(String, String)>>,
}

impl Outputs {
    /// Begins to read.
    pub fn collect(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let (over, running) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let streams = [Stream::new(stdout)?, Stream::new(stderr)?];
        Ok(Self { running, reader: tokio::task::spawn_blocking(move || read(streams, &over)) })
    }

    /// The command has ended: what it had said until then.
    pub async fn ended(self) -> io::Result<(String, String)> {
        drop(self.running);
        self.reader.await.map_err(io::Error::other)?
    }
}

struct Stream {
    /// None once every writer has closed it.
    pipe: Option<File>,
    kept: Vec<u8>,
}

impl Stream {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(File::from(pipe)), kept: Vec::new() })
    }

    /// Reads what is there, at most a pipe's content, and keeps the beginning of it all.
    fn take(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let (mut buffer, mut taken) = ([0; 4096], 0);
        while taken < PIPE {
            match pipe.read(&mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    break;
                }
                Ok(count) => {
                    taken += count;
                    let room = KEPT - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

fn read(mut streams: [Stream; 2], over: &OwnedFd) -> io::Result<(String, String)> {
    loop {
        let pipes = streams.iter().filter_map(|stream| stream.pipe.as_ref());
        let mut watched: Vec<_> = pipes.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        watched.push(PollFd::new(over.as_fd(), PollFlags::POLLIN));
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Looked at before the pipes are read: what was said before the end is there then.
        let ended = watched.last().and_then(PollFd::any).unwrap_or(false);
        for stream in &mut streams {
            stream.take()?;
        }
        if ended {
            return Ok((streams[0].text(), streams[1].text()));
        }
    }
}

//! A reader that gives so much and no more: what a library reads into memory before anybody can judge it.

use std::{
    cell::Cell,
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

/// How much may still be read.
#[derive(Debug, Clone, Default)]
pub struct Budget(Rc<Cell<u64>>);

impl Budget {
    /// Allows so many bytes from now on.
    pub fn allow(&self, bytes: u64) {
        self.0.set(bytes);
    }
}

/// Reads within a budget; more is an error that says `what` is too large.
#[derive(Debug)]
pub struct Within<R> {
    pub budget: Budget,
    pub what: &'static str,
    pub inner: R,
}

impl<R: Read> Read for Within<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.0.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!("{} is too large", self.what)));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.budget.0.set(left - count as u64);
        Ok(count)
    }
}

impl<R: Seek> Seek for Within<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

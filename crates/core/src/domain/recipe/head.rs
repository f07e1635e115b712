//! How a file begins: whether Linux would run it, and by what.

/// As many bytes as Linux reads of a file to see how to run it.
pub const HEAD: usize = 256;

/// The beginning of a file, understood as far as Linux looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// What Linux would run it by.
    pub kind: HeadKind,
    /// It begins with a byte order mark. Linux then sees no `#!`, and a shell takes the mark for a part of a command.
    pub byte_order_mark: bool,
    /// Its first line ends with a carriage return, as Windows writes it: Linux takes that for a part of a name.
    pub carriage_return: bool,
}

/// What Linux would run a file by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HeadKind {
    /// Nothing that it knows; a shell would try to read it.
    #[default]
    Plain,
    /// Itself: it is a program (ELF).
    Program,
    /// The program that its first line names (`#!`).
    Script {
        /// Its path.
        interpreter: String,
        /// What is written behind it: one argument, whatever spaces are in it.
        argument: Option<String>,
    },
}

impl Head {
    /// Understands a file's first bytes; more than `HEAD` of them are not looked at.
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(HEAD)];
        let (bytes, byte_order_mark) = match bytes.strip_prefix("\u{feff}".as_bytes()) {
            Some(rest) => (rest, true),
            None => (bytes, false),
        };
        if bytes.starts_with(b"\x7fELF") {
            return Self { kind: HeadKind::Program, byte_order_mark, carriage_return: false };
        }
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let (line, carriage_return) = match line.strip_suffix(b"\r") {
            // A line that goes on beyond what is looked at has no end here.
            Some(rest) if line.len() < bytes.len() => (rest, true),
            _ => (line, false),
        };
        let Some(named) = line.strip_prefix(b"#!") else {
            return Self { kind: HeadKind::Plain, byte_order_mark, carriage_return };
        };
        let named = String::from_utf8_lossy(named);
        let (interpreter, argument) = match named.trim().split_once([' ', '\t']) {
            Some((interpreter, argument)) => (interpreter.to_owned(), Some(argument.trim().to_owned())),
            None => (named.trim().to_owned(), None),
        };
        Self { kind: HeadKind::Script { interpreter, argument }, byte_order_mark, carriage_return }
    }

    /// Whether it is something to run.
    pub fn is_program(&self) -> bool {
        match self.kind {
            HeadKind::Plain => false,
            HeadKind::Program | HeadKind::Script { .. } => true,
        }
    }

    /// Why it can't be run by its own first line, or by a shell, and how to make it right.
    pub fn flaw(&self) -> Option<(String, &'static str)> {
        if self.byte_order_mark {
            let what = "begins with a byte order mark, which hides its first line from Linux";
            return Some((what.to_owned(), "Save it as UTF-8 without a byte order mark (BOM)"));
        }
        if self.carriage_return {
            let what = match &self.kind {
                HeadKind::Script { interpreter, .. } => {
                    format!(
                        "has a first line that ends with a carriage return: Linux looks for `{interpreter}\\r`"
                    )
                }
                HeadKind::Plain | HeadKind::Program => {
                    "has lines that end with a carriage return, which a shell takes for a part of the last word"
                        .to_owned()
                }
            };
            let hint = "Save it with Unix line ends (`sed -i 's/\\r$//'`); in Git, `*.sh text eol=lf` in `.gitattributes`";
            return Some((what, hint));
        }
        match &self.kind {
            HeadKind::Script { interpreter, .. } if !interpreter.starts_with('/') => {
                let what = "has a first line that names no interpreter by its whole path";
                Some((what.to_owned(), "Begin it with `#!/bin/sh`, or `#!/usr/bin/env python3`"))
            }
            HeadKind::Script { .. } | HeadKind::Plain | HeadKind::Program => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(interpreter: &str, argument: Option<&str>) -> HeadKind {
        HeadKind::Script { interpreter: interpreter.into(), argument: argument.map(str::to_owned) }
    }

    #[test]
    fn what_linux_would_run_is_known() {
        for (text, kind) in [
            (&b""[..], HeadKind::Plain),
            (b"echo\n", HeadKind::Plain),
            (b"\x7fELF\x02\x01", HeadKind::Program),
            (b"#!/bin/sh\nx", script("/bin/sh", None)),
            (b"#! /usr/bin/env  -S python3 -u\nx", script("/usr/bin/env", Some("-S python3 -u"))),
        ] {
            let head = Head::of(text);
            assert_eq!((&head.kind, head.flaw()), (&kind, None), "{text:?}");
            assert_eq!(head.is_program(), kind != HeadKind::Plain);
        }
    }

    #[test]
    fn what_windows_leaves_is_a_flaw() {
        for (text, words) in [
            (&b"#!/bin/sh\r\nx"[..], "looks for `/bin/sh\\r`"),
            (b"set -e\r\nx", "a shell takes"),
            (b"\xef\xbb\xbf#!/bin/sh\nx", "byte order mark"),
            (b"\xef\xbb\xbfset -e\n", "byte order mark"),
            (b"#!python3\n", "whole path"),
            (b"#!\n", "whole path"),
        ] {
            let (what, _) = Head::of(text).flaw().unwrap();
            assert!(what.contains(words), "{text:?}: {what}");
        }
        let long = [&b"#!/bin/sh "[..], &[b'x'; HEAD], b"\r\n"].concat();
        assert_eq!(Head::of(&long).flaw(), None);
    }
}

//! Secrets, and what hides them wherever they would be shown.

use std::fmt;

/// What stands for a secret in everything that is kept or printed.
pub const MASKED: &str = "•••";

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one program that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({MASKED})")
    }
}

/// Every secret of a step, as it could be printed.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// The longest first: of two secrets that begin alike, the whole of the longer is hidden.
    hidden: Vec<Vec<u8>>,
    longest: usize,
}

impl Mask {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut hidden: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            // A shell's `$(…)` drops line breaks at a value's end: that is the same secret.
            for text in [secret.reveal(), secret.reveal().trim()] {
                if !text.is_empty() && !hidden.iter().any(|known| known == text.as_bytes()) {
                    hidden.push(text.as_bytes().to_vec());
                }
            }
        }
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let longest = hidden.first().map_or(0, Vec::len);
        Self { hidden, longest }
    }

    /// Whether a secret begins with this.
    fn begins(&self, byte: u8) -> bool {
        self.hidden.iter().any(|secret| secret.first() == Some(&byte))
    }

    /// Hides every secret of a text.
    pub fn text(&self, text: &str) -> String {
        let mut stream = Stream::new(self.clone());
        let mut bytes = stream.push(text.as_bytes());
        bytes.extend(stream.finish());
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Hides secrets in output that comes piece by piece, each of which may end in the middle of one.
#[derive(Debug)]
pub struct Stream {
    mask: Mask,
    held: Vec<u8>,
}

impl Stream {
    pub fn new(mask: Mask) -> Self {
        Self { mask, held: Vec::new() }
    }

    /// Takes a piece; gives what can be shown by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.mask.hidden.is_empty() {
            return piece.to_vec();
        }
        self.held.extend_from_slice(piece);
        // What begins a secret must be seen whole before it is judged.
        self.show(self.held.len().saturating_sub(self.mask.longest - 1))
    }

    /// Gives the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.show(self.held.len())
    }

    /// Judges every place before `until`, and lets go of what was judged.
    fn show(&mut self, until: usize) -> Vec<u8> {
        let mut shown = Vec::with_capacity(until);
        let mut at = 0;
        while at < until {
            // Most of all output begins no secret: it is gone over quickly.
            let judged = &self.held[at..until];
            let plain = judged.iter().position(|byte| self.mask.begins(*byte)).unwrap_or(judged.len());
            if plain > 0 {
                shown.extend_from_slice(&judged[..plain]);
                at += plain;
                continue;
            }
            let rest = &self.held[at..];
            match self.mask.hidden.iter().find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    shown.extend_from_slice(MASKED.as_bytes());
                    at += secret.len();
                }
                None => {
                    shown.push(self.held[at]);
                    at += 1;
                }
            }
        }
        self.held.drain(..at);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secrets: &[&str]) -> Mask {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
        Mask::new(&secrets)
    }

    #[test]
    fn the_longer_of_two_secrets_is_hidden_whole() {
        assert_eq!(mask(&["hunter", "hunter2"]).text("is hunter2, not hunter"), "is •••, not •••");
    }

    #[test]
    fn a_secret_without_its_last_line_break_is_hidden_too() {
        assert_eq!(mask(&["key\n"]).text("[key] key\n"), "[•••] •••");
    }

    #[test]
    fn an_empty_secret_hides_nothing() {
        assert_eq!(mask(&["", "\n"]).text("a\nb"), "a•••b");
        assert_eq!(mask(&[""]).text("a\nb"), "a\nb");
    }

    #[test]
    fn nothing_shows_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(•••)");
    }

    proptest! {
        /// However the output is cut into pieces, no secret is in what is shown, and nothing else is lost.
        #[test]
        fn no_cut_shows_a_secret(
            secrets in prop::collection::vec("[ab]{1,5}", 1..4),
            pieces in prop::collection::vec("[abc\n]{0,9}", 0..9),
        ) {
            let texts: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let mut stream = Stream::new(mask(&texts));
            let mut shown = Vec::new();
            for piece in &pieces {
                shown.extend(stream.push(piece.as_bytes()));
            }
            shown.extend(stream.finish());
            let shown = String::from_utf8(shown).unwrap();
            for secret in &secrets {
                prop_assert!(!shown.contains(secret.as_str()), "{} in {}", secret, shown);
            }
            prop_assert_eq!(mask(&texts).text(&pieces.concat()), shown);
        }
    }
}

//! Secrets, and what hides them wherever they would be shown.

use secrecy::{ExposeSecret as _, ExposeSecretMut as _, SecretBox, SecretSlice, SecretString};

/// What stands for a secret in everything that is kept or printed.
pub const MASKED: &str = "•••";

/// Every secret of a step, as it could be printed.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// The longest first: of two secrets that begin alike, the whole of the longer is hidden.
    hidden: Vec<SecretSlice<u8>>,
    longest: usize,
}

impl Mask {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut hidden: Vec<SecretSlice<u8>> = Vec::new();
        for secret in secrets {
            // A shell's `$(…)` drops line breaks at a value's end: that is the same secret.
            for text in [secret.expose_secret(), secret.expose_secret().trim()] {
                let known = hidden.iter().any(|known| known.expose_secret() == text.as_bytes());
                if !text.is_empty() && !known {
                    hidden.push(text.as_bytes().to_vec().into());
                }
            }
        }
        hidden.sort_by_key(|text| std::cmp::Reverse(text.expose_secret().len()));
        let longest = hidden.first().map_or(0, |text| text.expose_secret().len());
        Self { hidden, longest }
    }

    /// Whether a secret begins with this.
    fn begins(&self, byte: u8) -> bool {
        self.hidden.iter().any(|secret| secret.expose_secret().first() == Some(&byte))
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
    /// It may have the beginning of a secret.
    held: SecretBox<Vec<u8>>,
}

impl Stream {
    pub fn new(mask: Mask) -> Self {
        Self { mask, held: SecretBox::default() }
    }

    /// Takes a piece; gives what can be shown by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.mask.hidden.is_empty() {
            return piece.to_vec();
        }
        let held = self.held.expose_secret_mut();
        held.extend_from_slice(piece);
        // What begins a secret must be seen whole before it is judged.
        let until = held.len().saturating_sub(self.mask.longest - 1);
        self.show(until)
    }

    /// Gives the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.show(self.held.expose_secret().len())
    }

    /// Judges every place before `until`, and lets go of what was judged.
    fn show(&mut self, until: usize) -> Vec<u8> {
        let held = self.held.expose_secret_mut();
        let mut shown = Vec::with_capacity(until);
        let mut at = 0;
        while at < until {
            // Most of all output begins no secret: it is gone over quickly.
            let judged = &held[at..until];
            let plain = judged.iter().position(|byte| self.mask.begins(*byte)).unwrap_or(judged.len());
            if plain > 0 {
                shown.extend_from_slice(&judged[..plain]);
                at += plain;
                continue;
            }
            let rest = &held[at..];
            let mut hidden = self.mask.hidden.iter().map(SecretSlice::expose_secret);
            match hidden.find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    shown.extend_from_slice(MASKED.as_bytes());
                    at += secret.len();
                }
                None => {
                    shown.push(held[at]);
                    at += 1;
                }
            }
        }
        held.drain(..at);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secrets: &[&str]) -> Mask {
        let secrets: Vec<SecretString> = secrets.iter().map(|text| (*text).into()).collect();
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
        let mut stream = Stream::new(mask(&["hunter2"]));
        stream.push(b"hunter");
        let shown = format!("{stream:?} {:?}", SecretString::from("hunter2"));
        assert!(!shown.contains("hunter") && !shown.contains("104, 117, 110, 116"), "{shown}");
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

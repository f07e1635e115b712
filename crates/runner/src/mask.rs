//! Secrets, and what hides them wherever they would be shown.

use secrecy::{ExposeSecret as _, ExposeSecretMut as _, SecretBox, SecretSlice, SecretString};

/// What stands for a secret in everything that is kept or printed.
pub const MASKED: &str = "•••";

/// The least letters of a secret. A shorter one would be found in half of all words, and what is hidden in a known text
/// would tell it.
pub const SHORTEST: usize = 6;

/// The least letters of a part, or of another form, of a secret that is hidden by itself.
const SHORTEST_PART: usize = 8;

/// After how many letters programs break a line of base64: `base64`, and OpenSSL.
const LINES: [usize; 2] = [76, 64];

/// Every secret, as it could be printed: whole, line by line, and in the forms that programs commonly give it.
#[derive(Debug, Clone)]
pub struct Mask {
    /// By their first bytes, and the longest first: of two that begin alike, the whole of the longer is hidden.
    hidden: Vec<Vec<SecretSlice<u8>>>,
    longest: usize,
}

impl Default for Mask {
    fn default() -> Self {
        Self { hidden: vec![Vec::new(); 256], longest: 0 }
    }
}

impl Mask {
    #[cfg(test)]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut mask = Self::default();
        secrets.into_iter().for_each(|secret| mask.add(secret));
        mask
    }

    /// Hides this one, too.
    pub fn add(&mut self, secret: &SecretString) {
        let whole = secret.expose_secret();
        // A shell's `$(…)` drops line breaks at a value's end: that is the same secret.
        self.hide(whole.as_bytes(), 1);
        self.hide(whole.trim().as_bytes(), 1);
        for form in forms(whole).iter().chain(&forms(whole.trim())) {
            self.hide(form.expose_secret().as_bytes(), SHORTEST_PART);
        }
        for by_first in &mut self.hidden {
            by_first.sort_by_key(|text| std::cmp::Reverse(text.expose_secret().len()));
        }
    }

    fn hide(&mut self, text: &[u8], shortest: usize) {
        let Some(first) = text.first().filter(|_| text.len() >= shortest) else { return };
        let by_first = &mut self.hidden[usize::from(*first)];
        if !by_first.iter().any(|known| known.expose_secret() == text) {
            by_first.push(text.to_vec().into());
            self.longest = self.longest.max(text.len());
        }
    }

    /// The longest secret that a text begins with.
    fn at_the_beginning_of(&self, text: &[u8]) -> Option<usize> {
        let by_first = &self.hidden[usize::from(*text.first()?)];
        let found = by_first.iter().map(SecretSlice::expose_secret).find(|secret| text.starts_with(secret));
        found.map(<[u8]>::len)
    }

    /// Whether a secret begins with this.
    fn begins(&self, byte: u8) -> bool {
        !self.hidden[usize::from(byte)].is_empty()
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
        if self.mask.longest == 0 {
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
            match self.mask.at_the_beginning_of(&held[at..]) {
                Some(length) => {
                    shown.extend_from_slice(MASKED.as_bytes());
                    at += length;
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

/// The parts and forms of a secret: its lines, the lines joined, quoted for JSON and for a shell, URL-encoded, and
/// base64 wherever it stands in what was encoded.
fn forms(secret: &str) -> Vec<SecretString> {
    let lines: Vec<&str> = secret.lines().map(str::trim).collect();
    let mut forms: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    if lines.len() > 1 {
        forms.extend(["", " ", "\\n", "\r\n"].map(|between| lines.join(between)));
    }
    forms.push(serde_json::Value::from(secret).to_string().trim_matches('"').to_owned());
    // As `set -x` of a shell shows it.
    forms.push(secret.replace('\'', "'\\''"));
    forms.extend(url_encoded(secret));
    for before in 0..3 {
        forms.extend(in_base64(secret.as_bytes(), before));
    }
    forms.into_iter().map(SecretString::from).collect()
}

/// As a URL has it, with capital and small digits; and as a form has it.
fn url_encoded(text: &str) -> [String; 3] {
    let encode = |byte: u8, small: bool| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if small => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    let capital: String = text.bytes().map(|byte| encode(byte, false)).collect();
    let small: String = text.bytes().map(|byte| encode(byte, true)).collect();
    let form = capital.replace("%20", "+");
    [capital, small, form]
}

/// Base64 of a secret that so many bytes, modulo three, stand before: `user:secret` in a header. Only the letters that
/// are of the secret alone; also by lines, and in the alphabet for URLs.
fn in_base64(secret: &[u8], before: usize) -> Vec<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    let padded = [&vec![0; before], secret].concat();
    let encoded = STANDARD_NO_PAD.encode(&padded);
    // A letter holds six bits: the first that has none of what stands before, the last that has none of what follows.
    let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    let own = encoded.get(first..last).unwrap_or_default();
    let mut forms = vec![own.to_owned(), own.replace('+', "-").replace('/', "_")];
    if before == 0 {
        for width in LINES {
            forms.extend(own.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned()));
        }
    }
    forms
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

    const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA==\n\
        -----END KEY-----\n";

    /// What a program prints of a secret, by a script that has it in `$S`.
    fn printed(secret: &str, script: &str) -> String {
        let mut command = std::process::Command::new("sh");
        let output = command.args(["-c", script]).env("S", secret).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_secret_of_many_lines_is_hidden_however_it_is_printed() {
        for script in [
            "echo \"$S\" | sed 's/^/    /'",
            "echo \"$S\" | tac",
            "echo \"$S\" | tr -d '\\n'",
            "echo $S",
            "echo \"$S\" | sed 's/$/\\r/'",
            "echo \"$S\" | sed -n 2,3p",
            "printf %s \"$S\" | base64",
            "printf %s \"$S\" | base64 -w 64",
            "printf %s \"$S\" | base64 -w 0",
            "echo \"$S\" | sed ':a;N;$!ba;s/\\n/\\\\n/g'",
        ] {
            let printed = printed(KEY, script);
            let shown = mask(&[KEY]).text(&printed);
            assert!(printed.len() > 40 && shown.contains(MASKED), "{script}: {shown}");
            let left: Vec<&str> = shown.split([' ', '\n', '\r']).filter(|word| word.len() > 8).collect();
            let left: Vec<_> = left.iter().filter(|word| !word.trim_matches('•').is_empty()).collect();
            assert!(left.iter().all(|word| word.replace(MASKED, "").len() < 12), "{script}: {shown}");
            for part in ["MIIE", "BKcw", "MzEf", "TUlJRX"] {
                assert!(!shown.contains(part), "{script}: {part} in {shown}");
            }
        }
    }

    #[test]
    fn base64_of_a_secret_is_hidden_wherever_it_stands() {
        let secret = "pa?s~w>rd with/odd+signs";
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "z", "zz"] {
                let script = format!("printf '{before}%s{after}' \"$S\" | base64 -w 0");
                for text in
                    [printed(secret, &script), printed(secret, &script).replace('+', "-").replace('/', "_")]
                {
                    let shown = mask(&[secret]).text(&text);
                    assert!(
                        shown.contains(MASKED) && shown.replace(MASKED, "").len() <= 16,
                        "{text}: {shown}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_secret_in_a_url_in_json_and_quoted_is_hidden() {
        let secret = "a b/c?d=\"e\"&f'g\\h";
        for text in [
            "a%20b%2Fc%3Fd%3D%22e%22%26f%27g%5Ch",
            "a%20b%2fc%3fd%3d%22e%22%26f%27g%5ch",
            "a+b%2Fc%3Fd%3D%22e%22%26f%27g%5Ch",
            "a b/c?d=\\\"e\\\"&f'g\\\\h",
            "a b/c?d=\"e\"&f'\\''g\\h",
        ] {
            assert_eq!(mask(&[secret]).text(&format!("[{text}]")), "[•••]", "{text}");
        }
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

//! The keys of a local cloud: the operator's, the functions' and each machine's.

use std::{
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac as _};
use ovenbird_core::domain::digest;
use sha2::Sha256;

use crate::{
    deploy::REGION,
    error::{LocalError, Result},
    home::Home,
};

/// The profile of the operator's key in the home's files for AWS's tools.
pub const PROFILE: &str = "ovenbird-local";

/// What the ids of the operator's keys begin with: no account of AWS has such a key.
const OPERATOR: &str = "OVENBIRD";

/// What the ids of functions' keys begin with; `ministack/main.py` makes the same.
const FUNCTION: &str = "OVENFUNC";

/// What the ids of machines' keys begin with.
const MACHINE: &str = "OVENMACH";

/// An access key with its secret.
///
/// Our own type, and not `secrecy`'s: keys are compared, and written to files and machines as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key's id, which is no secret.
    pub access_key: String,
    /// What requests are signed with.
    pub secret: String,
    /// What must come with every request; only roles' keys have one.
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Credentials {
    /// A new key of an operator.
    pub fn operator() -> Self {
        Self { access_key: new_id(OPERATOR), secret: random(), token: None }
    }

    /// A new key of a machine's role.
    pub fn machine() -> Self {
        Self { access_key: new_id(MACHINE), secret: random(), token: Some(random()) }
    }

    /// The operator's key: the home's or, where the home can't be read, the environment's.
    ///
    /// The environment counts only with a key that a local cloud made: nothing is signed with an account's key.
    pub fn of(home: &Home) -> Result<Self> {
        match read_operator(&home.credentials()) {
            Ok(Some(credentials)) => Ok(credentials),
            Ok(None) => Self::from_env().ok_or_else(|| LocalError::NoKeys { home: home.root().to_owned() }),
            Err(LocalError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::from_env().ok_or_else(|| LocalError::NotYours { home: home.root().to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    fn from_env() -> Option<Self> {
        let access_key = std::env::var("AWS_ACCESS_KEY_ID").ok().filter(|id| id.starts_with(OPERATOR))?;
        let secret = std::env::var("AWS_SECRET_ACCESS_KEY").ok()?;
        Some(Self { access_key, secret, token: None })
    }
}

/// The keys that the endpoint knows.
#[derive(Debug, Clone)]
pub struct Keys {
    operator: Credentials,
    functions: Seed,
}

/// What the functions' secrets are derived from.
#[derive(Clone)]
struct Seed(String);

impl fmt::Debug for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seed")
    }
}

/// Whose key a request was signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The key in the home: it may do everything.
    Operator,
    /// A key that was derived from a function's ARN: it may do everything but `/_ovenbird/`.
    Function,
}

impl Keys {
    /// Keys that are in no file.
    pub fn new(operator: Credentials) -> Self {
        Self { operator, functions: Seed(random()) }
    }

    /// The home's keys; those that aren't there are made.
    pub(crate) fn open(home: &Home, endpoint: &str) -> Result<Self> {
        let path = home.credentials();
        let operator = match read_operator(&path)? {
            Some(operator) => operator,
            None => {
                let operator = Credentials::operator();
                let Credentials { access_key, secret, .. } = &operator;
                let text = format!(
                    "[{PROFILE}]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n"
                );
                write_private(&path, &text)?;
                operator
            }
        };
        // The endpoint is the port's, which may be another one than at the last start.
        // Without the last line botocore presigns by version 2 wherever the endpoint is not AWS's.
        let settings =
            format!("region = {REGION}\nendpoint_url = {endpoint}\ns3 =\n  signature_version = s3v4\n");
        let config = format!("[default]\n{settings}\n[profile {PROFILE}]\n{settings}");
        write_private(&home.aws_config(), &config)?;
        let functions = home.function_seed();
        let seed = match fs::read_to_string(&functions) {
            Ok(seed) => seed.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = random();
                write_private(&functions, &seed)?;
                seed
            }
            Err(error) => return Err(LocalError::io(format!("read {}", functions.display()))(error)),
        };
        Ok(Self { operator, functions: Seed(seed) })
    }

    /// The operator's key.
    pub fn operator(&self) -> &Credentials {
        &self.operator
    }

    /// The key of a function, by its ARN.
    pub fn function(&self, arn: &str) -> Credentials {
        let digest = digest::sha256(arn.as_bytes()).to_string().to_uppercase();
        let access_key = format!("{FUNCTION}{}", &digest[..12]);
        let secret = self.functions.secret(&access_key);
        Credentials { access_key, secret, token: None }
    }

    /// The key of this id, and whose it is.
    pub(crate) fn find(&self, access_key: &str) -> Option<(Credentials, Holder)> {
        if access_key == self.operator.access_key {
            return Some((self.operator.clone(), Holder::Operator));
        }
        // Every id of a function has a secret: nobody can tell it who doesn't know the seed.
        let secret = access_key.starts_with(FUNCTION).then(|| self.functions.secret(access_key))?;
        Some((Credentials { access_key: access_key.to_owned(), secret, token: None }, Holder::Function))
    }
}

impl Seed {
    fn secret(&self, access_key: &str) -> String {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes())
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        mac.update(access_key.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// The operator's key in the home's file; none when there is no such file.
fn read_operator(path: &Path) -> Result<Option<Credentials>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LocalError::io(format!("read {}", path.display()))(error)),
    };
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(access_key), Some(secret)) if !secret.is_empty() => {
            Ok(Some(Credentials { access_key, secret, token: None }))
        }
        _ => Err(LocalError::BadKeys { path: path.to_owned() }),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let write = || {
        let unfinished: PathBuf = path.with_extension("unfinished");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(unfinished, path)
    };
    write().map_err(LocalError::io(format!("write {}", path.display())))
}

/// A new id: a word that says whose, and twelve random digits.
fn new_id(whose: &str) -> String {
    format!("{whose}{}", &random().to_uppercase()[..12])
}

/// 244 random bits of the kernel's.
fn random() -> String {
    [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|uuid| uuid.simple().to_string()).concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(folder.path());
        home.prepare().expect("prepared");
        let keys = Keys::open(&home, "http://127.0.0.1:1").expect("made");
        let again = Keys::open(&home, "http://127.0.0.1:2").expect("read");
        assert_eq!(keys.operator(), again.operator());
        assert_eq!(keys.function("arn:a"), again.function("arn:a"));
        assert_eq!(&Credentials::of(&home).expect("read"), keys.operator());
        for path in [home.credentials(), home.aws_config(), home.function_seed()] {
            let mode = fs::metadata(&path).expect("written").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
        assert!(fs::read_to_string(home.aws_config()).expect("text").contains("http://127.0.0.1:2"));
    }

    #[test]
    fn every_function_has_a_key_of_its_own_and_nobody_else_s() {
        let keys = Keys::new(Credentials::operator());
        let (one, other) = (keys.function("arn:one"), keys.function("arn:other"));
        assert_ne!(one, other);
        assert_eq!(keys.find(&one.access_key), Some((one, Holder::Function)));
        assert_eq!(keys.find("local"), None);
        let elsewhere = Keys::new(Credentials::operator());
        assert_ne!(elsewhere.function("arn:other").secret, other.secret);
    }

    #[test]
    fn no_secret_is_shown() {
        let credentials = Credentials::machine();
        let shown = format!("{credentials:?} {:?}", Keys::new(credentials.clone()));
        assert!(!shown.contains(&credentials.secret), "{shown}");
        assert!(!shown.contains(&credentials.token.expect("a token")), "{shown}");
    }
}

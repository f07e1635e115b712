//! Requests to S3 that are signed here: those of a client that starts no other program, and those that machines make.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningInstructions, SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};

/// The operator's key of a local cloud.
#[derive(Clone)]
pub struct Key {
    access_key: String,
    secret: String,
}

impl Key {
    /// The key in a home.
    pub fn of(home: &Path) -> Result<Self> {
        let path = home.join("aws/credentials");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(" = "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).context("no key")
        };
        Ok(Self { access_key: value("aws_access_key_id")?, secret: value("aws_secret_access_key")? })
    }

    /// Its id and its secret, for a program that signs for itself.
    pub fn parts(&self) -> (&str, &str) {
        (&self.access_key, &self.secret)
    }

    /// The headers that sign an object's upload.
    pub fn put(&self, url: &str, body: &[u8]) -> Result<Vec<(String, String)>> {
        let mut settings = settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let instructions = self.sign("PUT", url, SignableBody::Bytes(body), settings)?;
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A URL with which anybody may do this to an object for five minutes.
    pub fn presign(&self, method: &str, url: &str) -> Result<String> {
        let mut settings = settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(300));
        let instructions = self.sign(method, url, SignableBody::UnsignedPayload, settings)?;
        let pairs: Vec<String> = instructions
            .params()
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('/', "%2F").replace(';', "%3B")))
            .collect();
        Ok(format!("{url}?{}", pairs.join("&")))
    }

    fn sign(
        &self,
        method: &str,
        url: &str,
        body: SignableBody<'_>,
        settings: SigningSettings,
    ) -> Result<SigningInstructions> {
        let identity = Credentials::new(&self.access_key, &self.secret, None, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let request = SignableRequest::new(method, url, std::iter::empty(), body)?;
        Ok(sign(request, &parameters)?.into_parts().0)
    }
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

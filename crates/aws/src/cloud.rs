//! The SDK's clients, made once for a process, with the names they work on.

use aws_config::BehaviorVersion;
use aws_smithy_http_client::{Builder, tls};
use ovenbird_core::Error;

use crate::settings::Settings;

/// Every port's adapter: core's traits are implemented for it, a file for each.
#[derive(Debug, Clone)]
pub struct Cloud {
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
    pub(crate) autoscaling: aws_sdk_autoscaling::Client,
    pub(crate) balancing: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    #[cfg(feature = "operator")]
    pub(crate) events: aws_sdk_eventbridge::Client,
    #[cfg(feature = "operator")]
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) settings: Settings,
    /// Where the cloud is, when it isn't AWS's own.
    pub(crate) endpoint: Option<String>,
}

/// A local cloud, instead of AWS.
#[derive(Clone)]
pub struct LocalCloud {
    /// The URL of its endpoint: `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// The id of the key that it gave its operator.
    pub access_key: String,
    /// The key's secret.
    pub secret: String,
}

impl std::fmt::Debug for LocalCloud {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LocalCloud").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Cloud {
    /// For a Lambda: names from its environment, credentials from its role.
    pub async fn from_env() -> Result<Self, Error> {
        Ok(Self::with(Settings::from_env()?, None, None).await)
    }

    /// For a person: names as given, the usual profile and Region, or a local cloud.
    pub async fn with(settings: Settings, profile: Option<&str>, local: Option<&LocalCloud>) -> Self {
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(LocalCloud { endpoint, access_key, secret }) = local {
            // Its own key and nothing else: nothing that an account's key signed may go there.
            let key = aws_sdk_s3::config::Credentials::new(access_key, secret, None, None, "ovenbird local");
            loader = loader
                .endpoint_url(endpoint)
                .region(aws_sdk_s3::config::Region::new("us-east-1"))
                .credentials_provider(key);
        }
        let config = loader.load().await;
        // An endpoint of one host name has no name for each bucket.
        let path_style = config.endpoint_url().is_some();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(path_style).build();
        Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            autoscaling: aws_sdk_autoscaling::Client::new(&config),
            balancing: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            sfn: aws_sdk_sfn::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            #[cfg(feature = "operator")]
            events: aws_sdk_eventbridge::Client::new(&config),
            #[cfg(feature = "operator")]
            sns: aws_sdk_sns::Client::new(&config),
            settings,
            endpoint: config.endpoint_url().map(str::to_owned),
        }
    }
}

//! The SDK's clients, made once for a process, with the names they work on.

use aws_config::{
    BehaviorVersion, Region, ecs::EcsCredentialsProvider, imds::credentials::ImdsCredentialsProvider,
    meta::credentials::CredentialsProviderChain, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_sdk_s3::config::SharedHttpClient;
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

/// Which account is talked to, and as whom.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// AWS.
    Aws {
        /// A profile of the AWS configuration; without one, what AWS's own tools use.
        profile: Option<&'a str>,
        /// The Region; without one, that of the environment or the profile.
        region: Option<&'a str>,
    },
    /// A local cloud.
    Local(&'a LocalCloud),
}

impl std::fmt::Debug for LocalCloud {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LocalCloud").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Cloud {
    /// For a Lambda: names from its environment, credentials from its role.
    pub async fn from_env() -> Result<Self, Error> {
        Ok(Self::with(Settings::from_env()?, Access::Aws { profile: None, region: None }).await)
    }

    /// For a person: names as given, and the account that they mean.
    pub async fn with(settings: Settings, access: Access<'_>) -> Self {
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
        match access {
            Access::Aws { profile, region } => {
                let region = region.map(|region| Region::new(region.to_owned()));
                if let Some(region) = region.clone() {
                    loader = loader.region(region);
                }
                if let Some(profile) = profile {
                    // A role of the profile is asked for in its Region.
                    let region = match region {
                        Some(region) => Some(region),
                        None => region_of(profile, http.clone()).await,
                    };
                    loader =
                        loader.profile_name(profile).credentials_provider(of_profile(profile, region, http));
                }
            }
            Access::Local(LocalCloud { endpoint, access_key, secret }) => {
                // Its own key and nothing else: nothing that an account's key signed may go there.
                let key =
                    aws_sdk_s3::config::Credentials::new(access_key, secret, None, None, "ovenbird local");
                loader =
                    loader.endpoint_url(endpoint).region(Region::new("us-east-1")).credentials_provider(key);
            }
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

/// The key of a profile that somebody named.
///
/// The SDK's own chain takes a key of the environment before the profile's, and would act in another account than the one
/// that was asked for. As in AWS's own command, the environment has no say here, and a profile without a key is one of the
/// machine's role.
fn of_profile(profile: &str, region: Option<Region>, http: SharedHttpClient) -> CredentialsProviderChain {
    let config = ProviderConfig::without_region().with_http_client(http).with_region(region);
    let named = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile).build();
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let machine = ImdsCredentialsProvider::builder().configure(&config).build();
    CredentialsProviderChain::first_try("Profile", named)
        .or_else("EcsContainer", container)
        .or_else("Ec2InstanceMetadata", machine)
}

/// The Region of a profile, or that of the environment, which goes before it.
async fn region_of(profile: &str, http: SharedHttpClient) -> Option<Region> {
    let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).profile_name(profile);
    loader.load().await.region().cloned()
}

//! Ports that a stand-in of the account passes on as they are.

/// What stands behind a stand-in.
pub(super) trait Inner {
    fn inner(&self) -> &ovenbird_testkit::Cloud;
}

/// Implements launch templates, attributes of images and executions for a stand-in by what is behind it.
macro_rules! pass_on {
    ($name:ident) => {
        impl ovenbird_core::ports::Templates for $name<'_> {
            async fn default_version(
                &self,
                name: &ovenbird_core::domain::id::TemplateName,
            ) -> ovenbird_core::Result<
                Option<(ovenbird_core::domain::rollout::Template, Option<ovenbird_core::domain::id::AmiId>)>,
            > {
                super::passed_on::Inner::inner(self).default_version(name).await
            }

            async fn launched(
                &self,
                template: &ovenbird_core::domain::rollout::Template,
            ) -> ovenbird_core::Result<Option<ovenbird_core::domain::rollout::Launched>> {
                super::passed_on::Inner::inner(self).launched(template).await
            }

            async fn every_version(
                &self,
                name: &ovenbird_core::domain::id::TemplateName,
            ) -> ovenbird_core::Result<Option<ovenbird_core::domain::template::LaunchTemplate>> {
                super::passed_on::Inner::inner(self).every_version(name).await
            }

            async fn with_image(
                &self,
                template: &ovenbird_core::domain::rollout::Template,
                image: &ovenbird_core::domain::id::AmiId,
                token: &str,
            ) -> ovenbird_core::Result<ovenbird_core::domain::rollout::Template> {
                super::passed_on::Inner::inner(self).with_image(template, image, token).await
            }

            async fn make_default(
                &self,
                template: &ovenbird_core::domain::rollout::Template,
            ) -> ovenbird_core::Result<()> {
                super::passed_on::Inner::inner(self).make_default(template).await
            }
        }

        impl ovenbird_core::ports::ImageAttributes for $name<'_> {
            async fn require_imdsv2(
                &self,
                image: &ovenbird_core::domain::id::AmiId,
            ) -> ovenbird_core::Result<()> {
                super::passed_on::Inner::inner(self).require_imdsv2(image).await
            }

            async fn protect(&self, image: &ovenbird_core::domain::id::AmiId) -> ovenbird_core::Result<()> {
                super::passed_on::Inner::inner(self).protect(image).await
            }
        }

        impl ovenbird_core::ports::Workflow for $name<'_> {
            async fn start_bake(
                &self,
                bake: &ovenbird_core::domain::id::BakeId,
                input: &serde_json::Value,
            ) -> ovenbird_core::Result<()> {
                super::passed_on::Inner::inner(self).start_bake(bake, input).await
            }

            async fn start_rollout(
                &self,
                name: &ovenbird_core::domain::id::BakeId,
                input: &serde_json::Value,
            ) -> ovenbird_core::Result<()> {
                super::passed_on::Inner::inner(self).start_rollout(name, input).await
            }

            async fn rollout_execution(
                &self,
                name: &ovenbird_core::domain::id::BakeId,
            ) -> ovenbird_core::Result<Option<ovenbird_core::ports::Execution>> {
                super::passed_on::Inner::inner(self).rollout_execution(name).await
            }

            async fn bake_execution(
                &self,
                bake: &ovenbird_core::domain::id::BakeId,
            ) -> ovenbird_core::Result<Option<ovenbird_core::ports::Execution>> {
                super::passed_on::Inner::inner(self).bake_execution(bake).await
            }
        }
    };
}

pub(super) use pass_on;

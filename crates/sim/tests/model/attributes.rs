//! Attributes of images: IMDSv2, and the protection against deregistration.

use super::{Cloud, code};

impl Cloud {
    /// An image of an instance of another one.
    fn image_from(&mut self, image: &str, name: &str) -> String {
        let request = ovenbird_sim::RunInstances { image: image.into(), ..self.request() };
        let instance = self.world.run_instances(self.now, &request).unwrap()[0].id.to_string();
        self.pass(0);
        self.pass(3);
        let image = self.image(&instance, name).unwrap().to_string();
        self.pass(0);
        self.pass(60);
        image
    }

    /// What an instance of an image wants, whose launch says this of tokens.
    fn tokens(&mut self, image: &str, said: Option<&str>) -> &'static str {
        let said = said.map(str::to_owned);
        let request = ovenbird_sim::RunInstances { image: image.into(), http_tokens: said, ..self.request() };
        self.world.run_instances(self.now, &request).unwrap()[0].http_tokens()
    }
}

/// Sources: the user guide's "Configure instance metadata options for new instances" (order of precedence), and for what
/// an image of such an instance has, hashicorp/packer-plugin-amazon#472.
#[test]
fn an_image_decides_on_imdsv2_where_the_launch_says_nothing() {
    let mut cloud = Cloud::new();
    let base = cloud.base.clone();
    let image = cloud.image_from(&base, "first");
    assert_eq!(cloud.tokens(&image, None), "optional");
    for _ in 0..2 {
        cloud.world.require_imdsv2(&image, false).unwrap();
    }
    assert_eq!(cloud.tokens(&image, None), "required");
    assert_eq!(cloud.tokens(&image, Some("optional")), "optional");
    assert_eq!(cloud.tokens(&base, Some("required")), "required");
    let child = cloud.image_from(&image, "child");
    assert_eq!(cloud.tokens(&child, None), "required");
    assert_eq!(code(cloud.world.require_imdsv2(&base, false)), "AuthFailure", "it is somebody else's");
}

/// Source: the user guide's "Protect an AMI from deregistration".
#[test]
fn a_protected_image_can_t_be_deregistered_and_a_cooldown_outlasts_its_protection() {
    let mut cloud = Cloud::new();
    let base = cloud.base.clone();
    let (plain, cool) = (cloud.image_from(&base, "plain"), cloud.image_from(&base, "cool"));
    assert_eq!(cloud.world.protect_image(&plain, false, false).unwrap(), "enabled-without-cooldown");
    assert_eq!(cloud.world.protect_image(&cool, true, false).unwrap(), "enabled-with-cooldown");
    let go = |cloud: &mut Cloud, image: &str| cloud.world.deregister_image(cloud.now, image, false, false);
    for image in [&plain, &cool] {
        assert_eq!(code(go(&mut cloud, image)), "OperationNotPermitted");
        for _ in 0..2 {
            assert_eq!(cloud.world.unprotect_image(cloud.now, image, false).unwrap(), "disabled");
        }
    }
    go(&mut cloud, &plain).unwrap();
    cloud.pass(24 * 3600 - 1);
    assert_eq!(code(go(&mut cloud, &cool)), "OperationNotPermitted");
    cloud.pass(1);
    go(&mut cloud, &cool).unwrap();
}

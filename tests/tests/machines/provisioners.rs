//! Puppet and Ansible for real: they are installed in machines, configure them, fail in every way, and leave no trace.
//!
//! It is one test, because it is one cloud; the machines fetch Debian's packages by their own network.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::{
    domain::{
        bake::{Bake, Status},
        report::{Exit, ProvisionReport, TestReport},
    },
    store::keys,
};
use ovenbird_tests::clients::{repository, within};
use serde::de::DeserializeOwned;

use crate::{Cloud, PATIENCE};

const PORT: u16 = 14_766;

/// Parameters of the recipes: their values must be found nowhere but in the steps that ask for them.
const KEY: (&str, &str) = ("/ovenbird/secrets/provisioners/shop-key", "hunter2, \"quoted\" \\ $HOME");
const VAULT: (&str, &str) = ("/ovenbird/secrets/provisioners/vault", "correct horse battery staple");

#[test]
#[ignore = "it installs Puppet and Ansible in machines, which takes minutes: `make test-all` runs it"]
fn puppet_and_ansible_configure_real_machines() -> Result<()> {
    let Some(cloud) = &Cloud::up("provisioners", PORT)? else { return Ok(()) };
    for (name, value) in [KEY, VAULT] {
        let parameter = ["--name", name, "--value", value, "--type", "SecureString"];
        cloud.local.aws(&[&["ssm", "put-parameter"], &parameter[..]].concat())?;
    }
    let done = thread::scope(|scope| {
        let bakes = [by_puppet, by_ansible, a_new_recipe].map(|bake| scope.spawn(move || bake(cloud)));
        bakes.map(thread::ScopedJoinHandle::join)
    });
    for done in done {
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    failures(cloud)?;
    as_the_application_s_own_user(cloud)?;
    a_byte_of_a_module(cloud)?;
    no_secret_is_kept(cloud)
}

impl Cloud {
    /// Pushes a recipe and bakes it, whatever comes of it.
    fn push_and_bake(&self, recipe: &Path, pipeline: &str) -> Result<Bake> {
        let start = Instant::now();
        self.local.ovenbird(&["recipe", "push", recipe.to_str().context("path")?])?;
        let bake: Bake = serde_json::from_value(self.local.ovenbird_json(&["bake", pipeline], true)?)?;
        eprintln!("{pipeline}: {:?} in {:.1} s", bake.progress.status, start.elapsed().as_secs_f64());
        Ok(bake)
    }

    /// A report of a bake.
    fn report<D: DeserializeOwned>(&self, bake: &Bake, file: &str) -> Result<D> {
        Ok(serde_json::from_str(&self.text(bake, file)?)?)
    }

    fn text(&self, bake: &Bake, file: &str) -> Result<String> {
        let key = keys::of_bake(&bake.spec.pipeline, &bake.spec.id, file);
        let path = self.home.join(key.replace('/', "-"));
        let to = path.to_str().context("path")?;
        self.local.aws(&["s3api", "get-object", "--bucket", self.bucket(), "--key", &key, to])?;
        Ok(fs::read_to_string(&path)?)
    }

    /// A pipeline on the image of another, of this one step.
    fn bake_on(&self, base: &str, pipeline: &str, files: &[(&str, &str)], step: &str) -> Result<Bake> {
        let folder = self.home.join("recipes").join(pipeline);
        fs::create_dir_all(&folder)?;
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().context("folder")?)?;
            fs::write(path, text)?;
        }
        let recipe = format!(
            "pipeline = \"{pipeline}\"\n[base]\nchannel = \"{base}/live\"\n[[step]]\nname = \"it\"\n{step}\n\
             [[test]]\ncommand = \"true\"\n[promote]\nchannel = \"live\"\n"
        );
        fs::write(folder.join("recipe.toml"), recipe)?;
        self.push_and_bake(&folder, pipeline)
    }
}

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/provisioners").join(name)
}

fn promoted(bake: &Bake) -> Result<()> {
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    Ok(())
}

fn by_puppet(cloud: &Cloud) -> Result<()> {
    let bake = cloud.push_and_bake(&fixture("puppet"), "by-puppet")?;
    promoted(&bake)?;
    let report: ProvisionReport = cloud.report(&bake, keys::PROVISION_REPORT)?;
    let step = |name: &str| report.steps.iter().find(|step| step.name == name).context("no such step");
    let (shop, left_out) = (step("shop")?, step("left out")?);
    // Exit status 2 of Puppet's, and no failure; the key that it said aloud is hidden.
    ensure!(shop.exit == Exit::Status(0) && shop.output_tail.contains("the key is •••"), "{shop:?}");
    ensure!(shop.output_tail.contains("Applied catalog"), "{shop:?}");
    ensure!(left_out.exit == Exit::Skipped, "{left_out:?}");
    eprintln!("by-puppet: the step took {} ms", shop.milliseconds);
    let tests: TestReport = cloud.report(&bake, "boot-test.json")?;
    ensure!(tests.tests.len() == 7 && tests.tests.iter().all(|test| test.passed), "{tests:?}");
    Ok(())
}

fn by_ansible(cloud: &Cloud) -> Result<()> {
    let bake = cloud.push_and_bake(&fixture("ansible"), "by-ansible")?;
    promoted(&bake)?;
    let report: ProvisionReport = cloud.report(&bake, keys::PROVISION_REPORT)?;
    let shop = report.steps.iter().find(|step| step.name == "shop").context("no such step")?;
    ensure!(shop.exit == Exit::Status(0) && shop.output_tail.contains("failed=0"), "{shop:?}");
    eprintln!("by-ansible: the step took {} ms", shop.milliseconds);
    for file in [keys::TEST_REPORT, "boot-test.json"] {
        let tests: TestReport = cloud.report(&bake, file)?;
        let names: Vec<&str> = tests.tests.iter().map(|test| test.name.as_str()).collect();
        ensure!(names.contains(&"suite: one") && names.contains(&"suite: two"), "{names:?}");
        ensure!(tests.tests.iter().all(|test| test.passed), "{tests:?}");
    }
    let junit = cloud.text(&bake, "junit.xml")?;
    ensure!(junit.contains("name=\"suite: one\"") && junit.contains("failures=\"0\""), "{junit}");
    Ok(())
}

/// What `recipe new` writes for the local cloud works as it is.
fn a_new_recipe(cloud: &Cloud) -> Result<()> {
    let folder = cloud.home.join("recipes/starter");
    cloud.local.ovenbird(&["recipe", "new", folder.to_str().context("path")?])?;
    promoted(&cloud.push_and_bake(&folder, "starter")?)
}

/// The images have the tools baked in: nothing is installed here. Each bake must fail, and say why.
fn failures(cloud: &Cloud) -> Result<()> {
    let puppet = "puppet = { manifest = \"site.pp\" }";
    let ansible = "ansible = { playbook = \"site.yml\" }";
    let change = "file { '/opt/changed': content => 'x' }";
    let fail = "exec { '/bin/false': }";
    let play = |hosts: &str, task: &str| {
        format!("- hosts: {hosts}\n  gather_facts: false\n  tasks:\n    - {task}\n")
    };
    let vaulted = "ansible = { playbook = \"play/site.yml\", vault-password = \"/ovenbird/secrets/provisioners/shop-key\" }";
    let vault = fs::read_to_string(fixture("ansible/ansible/roles/shop/vars/main.yml"))?;
    let with_vault =
        "- hosts: localhost\n  gather_facts: false\n  vars_files: [secret.yml]\n  tasks:\n    - ping:\n";
    let (none, task, missing) = (
        play("web", "ping:"),
        play("localhost", "command: /bin/false"),
        play("localhost", "no_such_module:"),
    );
    let (syntax, failing, both) = ("file {".to_owned(), fail.to_owned(), format!("{change}\n{fail}"));
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("by-puppet", "puppet-1", vec![("site.pp", &syntax)], puppet, "exit 1: the run failed"),
        ("by-puppet", "puppet-4", vec![("site.pp", &failing)], puppet, "exit 4: resources failed"),
        ("by-puppet", "puppet-6", vec![("site.pp", &both)], puppet, "exit 6: some resources were changed"),
        ("by-ansible", "ansible-2", vec![("site.yml", &task)], ansible, "exit 2: tasks failed"),
        (
            "by-ansible",
            "ansible-4",
            vec![("site.yml", &missing)],
            ansible,
            "exit 4: the playbook could not be read",
        ),
        ("by-ansible", "ansible-none", vec![("site.yml", &none)], ansible, "web"),
        (
            "by-ansible",
            "ansible-vault",
            vec![("play/site.yml", with_vault), ("play/secret.yml", &vault)],
            vaulted,
            "Decryption failed",
        ),
        (
            "by-puppet",
            "no-ansible",
            vec![("site.yml", &task)],
            ansible,
            "the machine has no `ansible-playbook`",
        ),
        (
            "by-puppet",
            "no-chef",
            vec![("cookbooks/shop/metadata.rb", "name 'shop'")],
            CHEF,
            "could not install `chef`",
        ),
    ];
    thread::scope(|scope| {
        let started: Vec<_> = cases
            .iter()
            .map(|(base, pipeline, files, step, words)| {
                let bake = scope.spawn(move || cloud.bake_on(base, pipeline, files, step));
                (*pipeline, *words, bake)
            })
            .collect();
        for (pipeline, words, bake) in started {
            let bake = bake.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            let failure = bake.progress.failure.with_context(|| format!("{pipeline} did not fail"))?;
            ensure!(failure.error == "StepFailed", "{pipeline}: {failure:?}");
            ensure!(failure.cause.contains(words), "{pipeline}: no {words:?} in {}", failure.cause);
            ensure!(!failure.cause.contains(KEY.1), "{pipeline}: {}", failure.cause);
        }
        Ok(())
    })?;
    // Exit status 0 of Puppet's: nothing to do.
    let manifest = "file { '/etc/shop.conf': mode => '0640' }";
    promoted(&cloud.bake_on("by-puppet", "puppet-0", &[("site.pp", manifest)], puppet)?)
}

/// Tools that give root's rights up still reach the recipe's files and the folder that they are started in: Python's
/// virtual environments, Git, and Ansible's tasks of another user.
fn as_the_application_s_own_user(cloud: &Cloud) -> Result<()> {
    let play = "- hosts: all\n  gather_facts: false\n  tasks:\n    \
        - { become: true, become_user: shop, copy: { src: files/conf, dest: /home/shop/conf } }\n    \
        - { become: true, become_user: shop, script: files/who.sh, args: { chdir: /home/shop } }\n";
    let files = [
        ("play/site.yml", play),
        ("play/files/conf", "it"),
        ("play/files/who.sh", "#!/bin/sh\nid -un > who\n"),
        ("play/app.py", "print('app')"),
    ];
    let steps = r#"package = ["git", "python3-venv"]
[[step]]
shell = """
useradd --system --create-home --shell /bin/sh shop
runuser -u shop -- python3 -m venv /home/shop/venv
runuser -u shop -- git init --quiet /home/shop/clone
runuser -u shop -- cp play/app.py /home/shop/clone/
runuser -u shop -- git -C /home/shop/clone add app.py
"""
[[step]]
ansible = { playbook = "play/site.yml" }
[[test]]
command = "runuser -u shop -- /home/shop/venv/bin/python3 /home/shop/clone/app.py"
stdout-contains = "app"
[[test]]
file = { path = "/home/shop/clone/.git/index", owner = "shop" }
[[test]]
file = { path = "/home/shop/conf", contains = "it", owner = "shop" }
[[test]]
file = { path = "/home/shop/who", contains = "shop", owner = "shop" }"#;
    promoted(&cloud.bake_on("by-ansible", "own-user", &files, steps)?)
}

/// One byte of a module, and the pipeline is baked anew, and through it the one that stands on it.
fn a_byte_of_a_module(cloud: &Cloud) -> Result<()> {
    let runtime = |content: &str| {
        let module = format!("class jvm {{ file {{ '/opt/runtime': content => '{content}' }} }}");
        let files = [("site.pp", "include jvm"), ("modules/jvm/manifests/init.pp", &module)];
        let puppet = "puppet = { manifest = \"site.pp\", modules = \"modules\" }";
        cloud.bake_on("by-puppet", "runtime", &files, puppet)
    };
    let first = runtime("1")?;
    promoted(&first)?;
    promoted(&cloud.bake_on("runtime", "application", &[], "shell = \"test -s /opt/runtime\"")?)?;
    let start = Instant::now();
    let second = runtime("2")?;
    promoted(&second)?;
    ensure!(second.progress.image != first.progress.image, "the runtime was not baked anew");
    let application = within("the application", PATIENCE, || {
        let bakes = cloud.local.bakes("application", 20)?;
        let newest = bakes.into_iter().find(|bake| bake.spec.trigger == "cascade").context("no bake yet")?;
        ensure!(newest.progress.status != Status::Running, "in stage {}", newest.progress.stage);
        Ok(newest)
    })?;
    eprintln!("a byte of a Puppet module: both baked anew in {:.1} s", start.elapsed().as_secs_f64());
    ensure!(
        Some(&application.spec.base.image) == second.progress.image.as_ref(),
        "{:?}",
        application.spec.base
    );
    promoted(&application)
}

const CHEF: &str = "chef = { cookbooks = \"cookbooks\", run-list = [\"recipe[shop]\"], install = true }";

/// Neither in an image or a machine's disk, nor in its console.
fn no_secret_is_kept(cloud: &Cloud) -> Result<()> {
    for secret in [KEY.1, VAULT.1] {
        for folder in ["instances", "snapshots"] {
            let folder = cloud.home.join(folder);
            ensure!(folder.is_dir(), "no {}", folder.display());
            // Debian's lists of packages describe one that makes passphrases, by the very one that is ours.
            let grep = ["-rlF", "--exclude-dir=lists", "--", secret];
            let output = Command::new("grep").args(grep).arg(&folder).output().context("grep")?;
            // Its exit status 1 says that there is none.
            ensure!(output.status.code() == Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    Ok(())
}

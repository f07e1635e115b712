//! What a mistake looks like: its place, what is wrong, how to make it right.

use super::*;

/// The problem and hint of every mistake, without the places.
pub(super) fn short(text: &str) -> String {
    let errors = Recipe::parse("recipe.toml", &around(text), &look).unwrap_err();
    errors.0.iter().map(|error| format!("{}\n  {}\n", error.problem, error.hint)).collect()
}

/// What is beside the recipe.
fn look(path: &Path) -> Beside {
    match path.to_str().unwrap() {
        "setup.sh" | "site.pp" | "hiera.yaml" | "site.yml" => Beside::File(Head::default()),
        "windows.sh" => Beside::File(Head::of(b"#!/bin/sh\r\n")),
        "marked.sh" => Beside::File(Head::of(b"\xef\xbb\xbf#!/bin/sh\n")),
        "cookbooks" | "modules" => Beside::Folder,
        "empty" => Beside::EmptyFolder,
        "link" => Beside::Other("a symbolic link"),
        _ => Beside::Nothing,
    }
}

#[test]
fn an_unknown_key_has_a_place_and_a_guess() {
    insta::assert_snapshot!(errors(&WHOLE.replace("instance-types", "instnce-types")), @r#"
    recipe.toml:6:1: unknown key `instnce-types` in `builder`
       |
     6 | instnce-types = ["c7i.large"]
       | ^^^^^^^^^^^^^
       = Did you mean `instance-types`?
    "#);
}

#[test]
fn a_bake_that_may_take_days_is_refused() {
    let text = format!("{WHOLE}[deadlines]\nbuilder = \"12h\"\n");
    let mistake = Recipe::parse("recipe.toml", &text, &look).unwrap_err().to_string();
    assert!(mistake.contains("lets a bake take 26.3 h, and 23 h is the most"), "{mistake}");
    assert!(Recipe::parse("recipe.toml", &text.replace("12h", "10h"), &look).is_ok());
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text = WHOLE
        .replace("port = 8080", "prot = 8080")
        .replace("channel =", "chanel =")
        .replace("c7i.large", "large one")
        .replace("useradd --system storefront\"", "true\"\n\ttimeout = 90");
    insta::assert_snapshot!(errors(&text), @r#"
    recipe.toml:6:19: `large one` is not an instance type
       |
     6 | instance-types = ["large one"]
       |                   ^^^^^^^^^^^
       = Use EC2's word for it: `c7i.large`
    recipe.toml:11:12: `timeout` is a number and should be a text in quotes
        |
     11 | 	timeout = 90
        | 	          ^^
        = Write `timeout` as a text in quotes
    recipe.toml:19:1: unknown key `prot` in `[[test]]`
        |
     19 | prot = 8080
        | ^^^^
        = Did you mean `port`?
    recipe.toml:20:1: `promote` lacks `channel`
        |
     20 | [promote]
        | ^^^^^^^^^
        = Add `channel = "production"`
    recipe.toml:21:1: unknown key `chanel` in `promote`
        |
     21 | chanel = "production"
        | ^^^^^^
        = Did you mean `channel`?
    "#);
}

#[test]
fn a_recipe_that_lacks_all_is_told_what_it_needs() {
    insta::assert_snapshot!(errors("pipeline = \"Shop\"\n"), @r#"
    recipe.toml:1:1: the recipe lacks `[base]`
       |
     1 | pipeline = "Shop"
       | ^
       = Add `[base]` with one of: image, parameter, newest, channel
    recipe.toml:1:1: the recipe lacks `[[test]]`
       |
     1 | pipeline = "Shop"
       | ^
       = Add a `[[test]]`: an image without a test is never promoted
    recipe.toml:1:1: the recipe lacks `[promote]`
       |
     1 | pipeline = "Shop"
       | ^
       = Add `[promote]` with `channel = "production"`
    recipe.toml:1:12: `Shop` is not a pipeline name
       |
     1 | pipeline = "Shop"
       |            ^^^^^^
       = Use lower-case letters, digits and `-`, beginning with a letter, at most 40
    "#);
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(errors("pipeline = \"a\nbase = { image = 'ami-1' \n[[step]\nshell = 'x'\nshell = 'y'\n"), @r#"
    recipe.toml:1:14: invalid basic string, expected `"`
       |
     1 | pipeline = "a
       |              ^
       = Fix the TOML: https://toml.io
    recipe.toml:3:1: missing key for inline table element, expected `,`
       |
     3 | [[step]
       | ^
       = Fix the TOML: https://toml.io
    recipe.toml:5:12: unclosed inline table, expected `}`
       |
     5 | shell = 'y'
       |            ^
       = Fix the TOML: https://toml.io
    "#);
}

#[test]
fn two_bases_are_one_too_many() {
    let two = WHOLE.replace("[base]", "[base]\nimage = \"ami-0123456789abcdef0\"");
    insta::assert_snapshot!(errors(&two), @r#"
    recipe.toml:5:1: `base` has more than one image to start from
       |
     5 | newest = { owner = "136693071363", name = "debian-12-amd64-*" }
       | ^^^^^^
       = Give it exactly one of: image, parameter, newest, channel
    "#);
}

#[test]
fn a_mistake_far_in_a_long_line_is_shown_around_its_place() {
    let text = format!("[[step]]\npackage = [\"{}\", \"a b\", \"\u{1b}[2J\"]", "x".repeat(200));
    insta::assert_snapshot!(errors(&around(&text)), @r#"
    recipe.toml:9:224: invalid basic string, expected non-double-quote visible characters, `\`
       |
     9 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "a b", "�[2J"]
       |                                                             ^
       = Fix the TOML: https://toml.io
    "#);
}

#[test]
fn paths_beside_the_recipe() {
    insta::assert_snapshot!(short(r#"
        [[step]]
        script = "../setup.sh"
        [[step]]
        script = "/setup.sh"
        [[step]]
        script = "setup.py"
        [[step]]
        script = "modules"
        [[step]]
        script = "link"
        [[step]]
        puppet = { manifest = "site.pp", modules = "empty", hiera = "hiera.yaml" }
        [[step]]
        chef = { cookbooks = "setup.sh", run-list = ["storefront"] }
        [[step]]
        ansible = { playbook = "site.yml", roles = "roles" }
    "#), @r#"
    `../setup.sh` is no path beside the recipe
      Name it from the recipe's folder on, without `/` or `./` before it and without `..`
    `/setup.sh` is no path beside the recipe
      Name it from the recipe's folder on, without `/` or `./` before it and without `..`
    there is no file `setup.py` beside the recipe
      Create it, or fix the path
    `modules` is a folder and should be a file
      Name a file in it
    `link` is a symbolic link, which can't be pushed
      Put a plain file or folder in its place
    folder `empty` has no file in it
      Fill it, or leave the key out
    `hiera` has no folder `data` beside it
      Put its data into `data` beside it, or both into a folder of their own
    `setup.sh` is a file and should be a folder
      Name the folder that it is in
    `storefront` is not an entry of a run list
      Use `recipe[cookbook::recipe]` or `role[name]`
    there is no folder `roles` beside the recipe
      Create it, or fix the path
    "#);
}

#[test]
fn steps() {
    insta::assert_snapshot!(short(r#"
        [[step]]
        [[step]]
        shel = "true"
        [[step]]
        shell = "true"
        package = "nginx"
        [[step]]
        shell = " "
        environment = { "A B" = "c", TOKEN = 1 }
        secrets = { TOKEN = "a b" }
        retries = 11
        timeout = "1d"
        [[step]]
        shell = "true"
        environment = { TOKEN = "a" }
        secrets = { TOKEN = "/token" }
        [[step]]
        file = { to = "etc/motd", content = "a", source = "setup.sh", mode = "rw-r--r--" }
        environment = { A = "b" }
        [[step]]
        service = { name = "nginx.service", unit = { exec = "a\nb", after = ["network"] } }
        [[step]]
        service = { name = "a", unit = { user = "a" } }
        [[step]]
        package = ["--now", "nginx-", "a b", "./a.deb"]
        [[step]]
        package = []
        [[step]]
        chef = { cookbooks = "cookbooks" }
        [[step]]
        script = { source = "setup.sh", interpreter = "sh -c 'a b'" }
        [[step]]
        puppet = { manifest = "site.pp", facts = { "A=b" = "c", role = "a\nb" } }
        [[step]]
        chef = { cookbooks = "cookbooks", run-list = ["role[web]"], attributes = { at = 2026-01-01, ratio = inf } }
    "#), @r#"
    `[[step]]` has no action
      Give it exactly one of: shell, script, file, service, package, puppet, chef, ansible
    unknown key `shel` in `[[step]]`
      Did you mean `shell`?
    `[[step]]` has more than one action
      Give it exactly one of: shell, script, file, service, package, puppet, chef, ansible
    `shell` is empty
      Give `shell` a value, or leave the key out
    `A B` is not a name of an environment variable
      Use letters, digits and `_`, not beginning with a digit
    `TOKEN` is a number and should be a text in quotes
      Write `TOKEN` as a text in quotes
    `a b` is not a parameter name
      Use letters, digits and `_.-/`, at most 1011
    `retries` is out of range
      Give a number from 0 to 10
    `timeout` is no length of time
      Give a number and `s`, `m` or `h`, at most 12 hours: `"90s"`
    `TOKEN` is in `environment` and in `secrets`
      Keep it in one of the two
    `etc/motd` is not an absolute path of a file
      Begin it with `/` and end it with the file's name, without `..`
    `file` has more than one content
      Give it exactly one of: content, source
    `rw-r--r--` is not a file mode
      Write it in octal: `mode = "0644"`
    a `file` step reads no `environment`
      Leave it out, or write the file in a `shell` step
    `name` ends with `.service`
      Leave `.service` out
    `exec` has a line break or control character
      Keep it on one line
    `network` is not a unit
      Use its whole name: `network-online.target`
    `unit` lacks `exec`
      Add `exec = "/usr/bin/java -jar /opt/storefront/app.jar"`
    `--now` is not a package
      Name a package, with a version as the base's package manager writes it; a group of dnf, `@name`; or a package file on the machine, `/path/to/it.deb`. For a pattern, a URL or an option, use a `shell` step: `apt-get install -y …`
    `nginx-` is not a package
      Name a package, with a version as the base's package manager writes it; a group of dnf, `@name`; or a package file on the machine, `/path/to/it.deb`. For a pattern, a URL or an option, use a `shell` step: `apt-get install -y …`
    `a b` is not a package
      Name a package, with a version as the base's package manager writes it; a group of dnf, `@name`; or a package file on the machine, `/path/to/it.deb`. For a pattern, a URL or an option, use a `shell` step: `apt-get install -y …`
    `./a.deb` is not a package
      Name a package, with a version as the base's package manager writes it; a group of dnf, `@name`; or a package file on the machine, `/path/to/it.deb`. For a pattern, a URL or an option, use a `shell` step: `apt-get install -y …`
    `package` is empty
      Name at least one
    `chef` lacks `run-list`
      Add `run-list = ["recipe[storefront::default]"]`
    `interpreter` is split at spaces, whatever the quotes
      Write a list: `interpreter = ["python3", "-c", "…"]`
    `A=b` is not a name of a fact
      Use lower-case letters, digits and `_`, beginning with a letter
    `role` has a line break or control character
      Keep it on one line
    a role is looked for beside the cookbooks, and nothing is pushed there
      Put cookbooks and roles into a folder: `cookbooks = "chef/cookbooks"`, and `chef/roles`
    `attributes` has a date, which JSON lacks
      Write it in quotes
    `attributes` has a number that JSON lacks
      Write a finite number
    "#);
}

#[test]
fn a_script_that_linux_could_not_run_is_a_mistake_with_its_place() {
    for (step, problem) in [
        ("script = 'windows.sh'", "`windows.sh` has a first line that ends with a carriage return"),
        ("script = 'marked.sh'", "`marked.sh` begins with a byte order mark"),
        ("script = { source = 'windows.sh', interpreter = '/bin/bash -e' }", "carriage return"),
        ("file = { to = '/x', source = 'windows.sh', mode = '0755' }", "carriage return"),
    ] {
        let shown = short(&format!("[[step]]\n{step}"));
        assert!(shown.contains(problem), "{shown}");
    }
    for step in [
        "script = { source = 'windows.sh', interpreter = 'python3' }",
        "file = { to = '/x', source = 'windows.sh' }",
        "script = 'setup.sh'",
    ] {
        let text = around(&format!("[[step]]\n{step}"));
        assert!(Recipe::parse("recipe.toml", &text, &look).is_ok(), "{step}");
    }
}

#[test]
fn a_package_is_a_name_a_group_or_a_file_of_the_machine() {
    let package = |name: &str| around(&format!("[[step]]\npackage = \"{name}\""));
    for name in
        ["nginx=1.22.1-9", "@Development Tools", "@core", "/opt/a/shop_1.0~b1.deb", "/srv/agent.rpm", "g++"]
    {
        assert!(Recipe::parse("recipe.toml", &package(name), &look).is_ok(), "{name}");
    }
    for name in [
        "php8.2-*",
        "https://example.com/agent.rpm",
        "files/shop.deb",
        "/etc/passwd",
        "/a/../b.deb",
        "@",
        "@-x",
        "perl(DBI)",
        "nginx mysql",
    ] {
        let text = package(name);
        let error = Recipe::parse("recipe.toml", &text, &look).unwrap_err().to_string();
        assert!(error.contains("is not a package") && error.contains("use a `shell` step"), "{error}");
    }
}

#[test]
fn the_builder() {
    let tags: Vec<String> = (0..41).map(|index| format!("t{index} = \"\"")).collect();
    insta::assert_snapshot!(short(&format!(
        r#"
        [builder]
        instance-types = []
        subnets = ["subnet-x"]
        security-groups = ["default"]
        instance-profile = "arn:aws:iam::123456789012:instance-profile/a"
        volume = {{ gib = 0, type = "io2", kms-key = "my key" }}
        tags = {{ "aws:a" = "", "Ovenbird:bake" = "", "" = "", {} }}
        "#,
        tags.join(", ")
    )), @r#"
    `instance-types` is empty
      Name at least one, or leave `instance-types` out
    `subnet-x` is not a subnet's id
      Use `subnet-` and 8 to 17 hexadecimal digits
    `default` is not a security group's id
      Use `sg-` and 8 to 17 hexadecimal digits
    `arn:aws:iam::123456789012:instance-profile/a` is not a name of an instance profile
      Use its name, not its ARN: letters, digits and `+=,.@_-`, at most 128
    `gib` is out of range
      Give a number from 1 to 65536
    a volume of type io1 or io2 needs `iops`
      Add `iops = 3000`, or use `gp3`, which has as many by itself
    `my key` is not a KMS key
      Use a key's id, `alias/…`, or the ARN of either; `alias/aws/ebs` is AWS's own
    `tags` has more than 40 tags
      Leave some out
    `aws:a` is not a key that a tag of yours may have
      Use 1 to 128 characters on one line, not beginning with `aws:` or `ovenbird:`
    `Ovenbird:bake` is not a key that a tag of yours may have
      Use 1 to 128 characters on one line, not beginning with `aws:` or `ovenbird:`
    `` is not a key that a tag of yours may have
      Use 1 to 128 characters on one line, not beginning with `aws:` or `ovenbird:`
    "#);
    for (volume, problem) in [
        ("type = 'st1'", "not a type of volume that EC2 boots a machine from"),
        ("type = 'gp4'", "not a type of volume"),
        ("iops = 3000", "`iops` needs a volume"),
        ("throughput = 300", "`throughput` needs a volume of type gp3"),
        ("type = 'io2', iops = 3000, throughput = 300", "`throughput` needs a volume of type gp3"),
        ("type = 'gp2', throughput = 300", "`throughput` needs a volume of type gp3"),
        ("type = 'gp3', throughput = 124", "`throughput` is out of range"),
        ("type = 'gp3', throughput = 1001", "`throughput` is out of range"),
        ("type = 'gp3', throughput = 751", "Add `iops = 3004`"),
        ("type = 'gp3', iops = 3100, throughput = 776", "Give `iops = 3104` at least"),
        ("", "`volume` is empty"),
    ] {
        let shown = short(&format!("[builder]\nvolume = {{ {volume} }}"));
        assert!(shown.contains(problem), "{shown}");
    }
    let alias = parse(&around("[builder]\nvolume = { kms-key = 'aws/ebs' }"));
    assert_eq!(alias.builder.volume.unwrap().kms_key.as_deref(), Some("alias/aws/ebs"));
}

#[test]
fn a_time_for_approval_needs_a_question() {
    let shown = short("[rollout]\napprove-hours = 4");
    assert!(shown.contains("nothing asks for one") && shown.contains("Add `pause-before = 1`"), "{shown}");
    let asked = parse(&around("[rollout]\napprove-hours = 4\npause-before = 1"));
    assert_eq!(asked.rollout.approve_within, Some(4 * 3600));
}

#[test]
fn a_seal_takes_no_whole_system_and_leaves_no_folder() {
    let refused = |key: &str, pattern: &str| {
        let text = around(&format!("[seal]\n{key} = ['{pattern}']"));
        Recipe::parse("recipe.toml", &text, &look).is_err()
    };
    for nonsense in [
        "", "/", "//", "*", "**", "/*", "/**", "/?", "a/b", "./a", "../a", "/..", "/a/../b", "/a/./b",
        "/a//b", "/a/b**", "/v*/b",
    ] {
        assert!(refused("keep", nonsense) && refused("remove", nonsense), "{nonsense}");
    }
    for system in [
        "/etc",
        "/etc/",
        "/usr/*",
        "/usr/**",
        "/var/*/*",
        "/var/**/?",
        "/home/*",
        "/proc/self/x",
        "/run/x",
        "/var/lib",
        "/var/lib/*",
        "/usr/lib/**",
    ] {
        assert!(refused("remove", system), "{system}");
    }
    for sense in [
        "/opt/shop/build",
        "/srv/*/cache",
        "/var/lib/**/tmp",
        "/home/*/.cache",
        "/var/log/shop/**",
        "/opt/a b",
    ] {
        assert!(!refused("keep", sense) && !refused("remove", sense), "{sense}");
    }
    assert!(!refused("keep", "/tmp"));
    insta::assert_snapshot!(short("[seal]\nkeep = ['etc/x']\nremove = ['/']\nkep = []"), @r"
    `etc/x` is not a pattern of paths below one of the machine's folders
      Begin it with `/` and a folder's name, without `.` or `..` in it: `/var/log/shop/**`. `*` and `?` stay within a name, `**` stands for any folders
    `/` is not a pattern of paths that the seal may remove
      Name what is to go, and not all of one of the machine's folders: `/opt/shop/build`, `/srv/*/cache`; without `.` or `..` in it. `*` and `?` stay within a name, `**` stands for any folders
    unknown key `kep` in `seal`
      Did you mean `keep`?
    ");
}

#[test]
fn what_the_seal_keeps_is_an_input_of_the_image_and_nothing_changes_for_who_says_nothing() {
    let inputs = |text: &str| Recipe::parse_pushed(&around(text)).unwrap().configuration_inputs();
    let usual = inputs("");
    assert_eq!(usual, serde_json::json!({ "artifact": null, "steps": [] }));
    assert_eq!(inputs("[seal]"), usual);
    for kept in ["keep = ['/tmp/a']", "remove = ['/opt/a']"] {
        assert_ne!(inputs(&format!("[seal]\n{kept}")), usual);
    }
}

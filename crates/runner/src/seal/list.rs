//! What is a machine's own: the list that the seal is planned by, and that `docs/recipe.md` shows.
//!
//! To add something, add a rule here and write the docs' table anew (CONTRIBUTING.md, "Files that are written by tests").
//! A rule names files as narrowly as it can: what a package or a recipe put beside them stays.

use ovenbird_core::domain::plan::FOLDER;

use super::rule::rule;
pub use super::rule::{Edit, Fate, Rule};
use crate::{boots, openrc};

/// Where the logs are.
pub const LOGS: &str = "/var/log";

/// Folders that running services have for themselves in `/tmp` and `/var/tmp` begin with this.
pub const PRIVATE: &str = "systemd-private-";

/// What the recipe itself wants removed.
pub static ASKED: Rule =
    rule("what the recipe names", &[], Fate::Remove, "`seal.remove` in the recipe", "the recipe");

/// Ovenbird's own folder, which goes last and in any case: until then a seal that was killed can begin again.
pub static OURS: Rule = rule(
    "Ovenbird",
    &[boots::WANTED, boots::UNIT, boots::CRON, openrc::WANTED, openrc::SCRIPT, FOLDER],
    Fate::Remove,
    "what starts the runner after a boot; the plan, with URLs that are keys; the runner; the recipe's files",
    "Ovenbird",
)
.secret();

/// The list, in the order in which it is carried out: what is a secret comes first.
pub static RULES: &[Rule] = &[
    rule(
        "SSH host keys",
        &["/etc/ssh/ssh_host_*"],
        Fate::Remove,
        "whoever has one can pose as any instance; cloud-init or sshd makes new ones at the first boot",
        "EC2 shared AMIs, Image Builder, virt-sysprep",
    )
    .secret(),
    rule(
        "cloud-init's state",
        &["/var/lib/cloud"],
        Fate::Contents(&["scripts", "seed", "handlers"]),
        "user data, instance data and semaphores are the builder's; an instance is a first boot. Scripts, seeds and \
         handlers are what a base or a recipe put there",
        "cloud-init clean, Image Builder",
    )
    .secret(),
    rule(
        "keys that may log in",
        &["~/.ssh/authorized_keys"],
        Fate::Edit(Edit::BuilderKeys),
        "cloud-init put the builder's key pair there; all other keys stay",
        "EC2 shared AMIs, Image Builder",
    )
    .secret(),
    rule(
        "machine id",
        &["/etc/machine-id"],
        Fate::Empty,
        "systemd makes a new one at boot; DHCP and journals tell machines apart by it, and it is confidential",
        "systemd building images, cloud-init clean, virt-sysprep",
    )
    .secret(),
    rule(
        "machine id of D-Bus",
        &["/var/lib/dbus/machine-id"],
        Fate::Remove,
        "made anew at boot, of systemd's; a link to systemd's stays",
        "systemd building images, virt-sysprep",
    )
    .secret(),
    rule(
        "random seeds",
        &[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "/var/lib/random-seed",
            "/boot/loader/random-seed",
            "/boot/efi/loader/random-seed",
            "/efi/loader/random-seed",
            "~/.gnupg/random_seed",
            "~/.rnd",
        ],
        Fate::Remove,
        "instances that begin with the same seed make the same keys",
        "systemd building images, Image Builder",
    )
    .secret(),
    rule(
        "systemd's credential secret",
        &["/var/lib/systemd/credential.secret"],
        Fate::Remove,
        "the key that credentials of this machine are encrypted with; made anew when it is used",
        "systemd building images",
    )
    .secret(),
    rule(
        "core dumps",
        &[
            "/var/lib/systemd/coredump",
            "/var/lib/systemd/pstore",
            "/var/crash",
            "/var/spool/abrt",
            "/var/lib/apport/coredump",
        ],
        Fate::Contents(&[]),
        "the memory of a program, with the secrets of the step that it ran in",
        "virt-sysprep (crash-data, abrt-data)",
    )
    .secret(),
    rule(
        "SSM agent",
        &["/var/lib/amazon/ssm"],
        Fate::Contents(&[]),
        "its registration is the builder's: an instance that kept it would answer to the builder's name",
        "amazon-ssm-agent (Vault)",
    )
    .secret()
    .late(),
    rule(
        "ECS agent",
        &["/var/lib/ecs/data"],
        Fate::Contents(&[]),
        "its registration with a cluster",
        "amazon-ecs-agent (`agent.db`)",
    )
    .secret(),
    rule(
        "NetworkManager",
        &[
            "/var/lib/NetworkManager/secret_key",
            "/var/lib/NetworkManager/*.lease",
            "/var/lib/NetworkManager/*.leases",
            "/var/lib/NetworkManager/timestamps",
            "/var/lib/NetworkManager/seen-bssids",
        ],
        Fate::Remove,
        "addresses and DHCP ids are made of the key, and would be related on all instances",
        "NetworkManager, virt-sysprep (dhcp-client-state)",
    )
    .secret(),
    rule(
        "snapd's state",
        &["/var/lib/snapd/state.json"],
        Fate::Edit(Edit::SnapdState),
        "serial, key and session of the builder; snapd registers each instance anew. The installed snaps stay",
        "snapd (`/v2/model/serial`, forget)",
    )
    .secret(),
    rule(
        "snapd's device key",
        &["/var/lib/snapd/device/private-keys-v1/*", "/var/lib/snapd/assertions/asserts-v0/serial/*"],
        Fate::Remove,
        "made anew with the registration",
        "snapd",
    )
    .secret(),
    rule(
        "Red Hat and Ubuntu Pro subscriptions",
        &[
            "/etc/pki/consumer/*",
            "/etc/pki/entitlement/*",
            "/etc/sysconfig/rhn/systemid",
            "/etc/insights-client/machine-id",
            "/var/lib/ubuntu-advantage/private/*",
        ],
        Fate::Remove,
        "the subscription of this one machine, with its key",
        "virt-sysprep (rh-subscription-manager, rhn-systemid)",
    )
    .secret(),
    rule(
        "Salt minion",
        &["/etc/salt/pki/minion/minion.pem", "/etc/salt/pki/minion/minion.pub", "/etc/salt/minion_id"],
        Fate::Remove,
        "its key and name; made anew when it starts",
        "salt-minion",
    )
    .secret(),
    rule(
        "Datadog agent",
        &["/etc/datadog-agent/auth_token", "/etc/datadog-agent/auth/*", "/etc/datadog-agent/ipc_cert.pem"],
        Fate::Remove,
        "tokens of this one machine, made anew when the agent starts; its host name is the instance's id, and nothing on \
         the disk",
        "datadog-agent",
    )
    .secret(),
    rule(
        "iSCSI initiator",
        &["/etc/iscsi/initiatorname.iscsi"],
        Fate::Edit(Edit::Initiator),
        "a target gives a volume to whoever has the name; `iscsi-init` or `iscsid` makes a new one",
        "open-iscsi, kubernetes image-builder",
    ),
    rule(
        "NVMe host",
        &["/etc/nvme/hostnqn", "/etc/nvme/hostid"],
        Fate::Remove,
        "packages make them at their installation; without them, `nvme` takes the instance's own UUID",
        "nvme-cli",
    ),
    rule(
        "DHCP leases",
        &[
            "/var/lib/dhcp/dhclient*",
            "/var/lib/dhclient/dhclient*",
            "/var/lib/dhcpcd/*",
            "/var/lib/dhcpcd5/*",
            "/var/db/dhcpcd/*",
            "/etc/dhcpcd.duid",
            "/etc/dhcpcd.secret",
            "/var/lib/wicked/*",
        ],
        Fate::Remove,
        "an instance would ask for the builder's address, by the builder's id",
        "virt-sysprep (dhcp-client-state), Image Builder",
    ),
    rule(
        "time servers' state",
        &[
            "/var/lib/chrony/*drift*",
            "/var/lib/chrony/*.dat",
            "/var/lib/chrony/*.nts",
            "/var/lib/ntp/*drift*",
            "/var/lib/ntpsec/*drift*",
        ],
        Fate::Remove,
        "how this one clock drifts, and its cookies with servers",
        "chrony, ntp",
    ),
    rule(
        "Docker and containerd",
        &[
            "/etc/docker/key.json",
            "/var/lib/docker/engine-id",
            "/var/lib/containerd/io.containerd.grpc.v1.introspection/uuid",
        ],
        Fate::Remove,
        "the engine's id, made anew when it starts; images and volumes stay",
        "docker, containerd",
    ),
    rule(
        "names of network cards and disks",
        &["/etc/udev/rules.d/70-persistent-net.rules", "/etc/lvm/devices/system.devices"],
        Fate::Remove,
        "they name the builder's cards and volumes by address and serial number",
        "virt-sysprep (udev-persistent-net, lvm-system-devices)",
    ),
    rule(
        "ids of package managers",
        &["/var/lib/yum/uuid"],
        Fate::Remove,
        "made anew at the next run",
        "virt-sysprep (yum-uuid)",
    ),
    rule(
        "old copies of accounts",
        &[
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/group-",
            "/etc/gshadow-",
            "/etc/subuid-",
            "/etc/subgid-",
            "/var/backups/passwd.bak",
            "/var/backups/shadow.bak",
            "/var/backups/group.bak",
            "/var/backups/gshadow.bak",
        ],
        Fate::Remove,
        "hashes of passwords that were changed since",
        "virt-sysprep (passwd-backups)",
    ),
    rule(
        "histories",
        &[
            "~/.bash_history",
            "~/.zsh_history",
            "~/.histfile",
            "~/.sh_history",
            "~/.ash_history",
            "~/.local/share/fish/fish_history",
            "~/.python_history",
            "~/.node_repl_history",
            "~/.irb_history",
            "~/.mysql_history",
            "~/.mariadb_history",
            "~/.psql_history",
            "~/.sqlite_history",
            "~/.rediscli_history",
            "~/.lesshst",
            "~/.viminfo",
            "~/.wget-hsts",
        ],
        Fate::Remove,
        "what somebody typed on the builder, passwords among it",
        "EC2 shared AMIs, virt-sysprep",
    ),
    rule(
        "what Ansible leaves behind",
        &["~/.ansible/tmp/*", "~/.ansible/cp/*", "~/.ansible_async/*"],
        Fate::Remove,
        "modules with their arguments; collections and roles stay",
        "ansible",
    ),
    rule(
        "mail",
        &["/var/mail/*", "/var/spool/mail/*"],
        Fate::Empty,
        "what cron and others wrote to root on the builder",
        "virt-sysprep (mail-spool)",
    ),
    rule(
        "places in logs",
        &[
            "/var/lib/rsyslog/imjournal.state",
            "/opt/aws/amazon-cloudwatch-agent/logs/state/*",
            "/var/awslogs/state/agent-state",
        ],
        Fate::Remove,
        "how far the builder's logs were read; the instance's would be skipped to there",
        "Image Builder, amazon-cloudwatch-agent",
    ),
    rule(
        "records of log-ins",
        &["/var/lib/wtmpdb/wtmp.db", "/var/lib/lastlog/lastlog2.db"],
        Fate::Remove,
        "who logged in on the builder; made anew at the next log-in",
        "virt-sysprep (utmp)",
    ),
    rule(
        "logs of the CloudWatch agent",
        &["/opt/aws/amazon-cloudwatch-agent/logs/*.log"],
        Fate::Empty,
        "the builder's",
        "amazon-cloudwatch-agent",
    ),
    rule(
        "logs",
        &[LOGS],
        Fate::Logs,
        "the builder's, not the instance's",
        "virt-sysprep (logfiles), Image Builder",
    ),
    rule(
        "temporary files",
        &["/tmp", "/var/tmp"],
        Fate::Contents(&[]),
        "nobody counts on them after a boot",
        "virt-sysprep (tmp-files), Image Builder",
    ),
    rule(
        "downloaded packages",
        &[
            "/var/cache/apt/archives/*.deb",
            "/var/cache/apt/archives/partial/*",
            "/var/cache/dnf/*/packages/*.rpm",
            "/var/cache/yum/*/*/*/packages/*.rpm",
        ],
        Fate::Remove,
        "they are installed, and only make the image larger",
        "virt-sysprep (package-manager-cache)",
    ),
];

//! What root in a machine tries against the host and against other machines, and doesn't get.
//!
//! Each attempt is a script that succeeds only when it got what it is after. What they change, they change to what it
//! was: the host they would harm is the tester's. `docs/local-cloud.md` has the list.

use std::fs;

use ovenbird_local::machine::Layer;

use crate::lab::{Lab, PATIENCE};

/// How a script calls the kernel: `call` ends it when the kernel refuses.
const PYTHON: &str = r#"
import ctypes, fcntl, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    answer = libc.syscall(number, *arguments)
    if answer < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return answer
"#;

/// An attempt in the shell's language: what it is after, and the script.
const SHELL: &[(&str, &str)] = &[
    ("a node for the host's disk", "mknod /root/disk b 254 0 && head -c 1 /root/disk"),
    (
        "the host's device nodes",
        "mkdir -p /mnt/dev; mount -t devtmpfs none /mnt/dev && ls /mnt/dev | grep -q .; got=$?
         umount /mnt/dev; exit $got",
    ),
    (
        "a program that the host's kernel runs for a core dump",
        "mkdir -p /mnt/proc; mount -t proc none /mnt/proc || exit
         pattern=$(cat /mnt/proc/sys/kernel/core_pattern)
         (echo \"$pattern\" > /mnt/proc/sys/kernel/core_pattern); got=$?; umount /mnt/proc; exit $got",
    ),
    (
        "the host's SysRq, by another mount of /proc",
        "mkdir -p /mnt/proc; mount -t proc none /mnt/proc || exit
         (echo h > /mnt/proc/sysrq-trigger); got=$?; umount /mnt/proc; exit $got",
    ),
    (
        "a setting of the host's memory, by another mount of /sys",
        "mkdir -p /mnt/sys; mount -t sysfs none /mnt/sys || exit
         file=/mnt/sys/kernel/mm/transparent_hugepage/enabled
         now=$(sed 's/.*\\[\\(.*\\)\\].*/\\1/' $file)
         (echo \"$now\" > $file); got=$?; umount /mnt/sys; exit $got",
    ),
    (
        "a setting of the host's kernel",
        "now=$(cat /proc/sys/vm/swappiness); echo \"$now\" > /proc/sys/vm/swappiness",
    ),
    (
        "a program that the host's kernel runs when a control group empties",
        "for kind in memory cpu devices freezer pids blkio; do
           mkdir -p /mnt/$kind; mount -t cgroup -o $kind none /mnt/$kind || continue
           [ -e /mnt/$kind/release_agent ] && echo /nothing > /mnt/$kind/release_agent && got=yes
           [ \"$got\" ] && echo > /mnt/$kind/release_agent
           umount /mnt/$kind
         done; [ \"$got\" ]",
    ),
    (
        "more of the host than its limits",
        "for kind in memory pids; do
           mkdir -p /mnt/$kind; mount -t cgroup -o $kind none /mnt/$kind || continue
           for file in memory.limit_in_bytes pids.max; do
             [ -e /mnt/$kind/$file ] && echo -1 > /mnt/$kind/$file && got=yes
             [ -e /mnt/$kind/$file ] && echo max > /mnt/$kind/$file && got=yes
           done
           umount /mnt/$kind
         done
         for file in memory.max pids.max; do echo max > /sys/fs/cgroup/$file && got=yes; done
         [ \"$got\" ]",
    ),
    ("the host's kernel log", "dmesg | grep -q ."),
    ("the host's clock", "date -s \"@$(date +%s)\""),
    ("debugfs", "mkdir -p /mnt/debug; mount -t debugfs none /mnt/debug && umount /mnt/debug"),
    ("tracefs", "mkdir -p /mnt/trace; mount -t tracefs none /mnt/trace && umount /mnt/trace"),
    ("bpffs", "mkdir -p /mnt/bpf; mount -t bpf none /mnt/bpf && echo > /mnt/bpf/pinned"),
    ("the host's memory", "head -c 1 /dev/mem || head -c 1 /dev/kmem || head -c 64 /proc/kcore"),
    ("swap", "head -c 1048576 /dev/zero > /root/swap; mkswap /root/swap >&2; swapon /root/swap"),
    (
        "the home of the local cloud",
        "ls /var/lib/ovenbird /proc/1/cwd/var/lib/ovenbird /proc/1/root/../var/lib/ovenbird",
    ),
];

/// An attempt in Python, which has every system call.
const CALLS: &[(&str, &str)] = &[
    (
        "the host's control groups, by a file handle",
        // open_by_handle_at of the root of all groups: number 1, of kernfs's kind.
        "mount = os.open('/sys/fs/cgroup', os.O_RDONLY)
handle = ctypes.create_string_buffer(struct.pack('=IiQ', 8, 0xfe, 1))
root = call({x86_64: 304, aarch64: 265}[os.uname().machine], mount, handle, os.O_RDONLY)
print(os.listdir(root))",
    ),
    (
        "a map of BPF",
        "attributes = ctypes.create_string_buffer(struct.pack('=IIII', 2, 4, 8, 1) + bytes(112))
call({x86_64: 321, aarch64: 280}[os.uname().machine], 0, attributes, 128)",
    ),
    (
        "what each processor of the host runs",
        // perf_event_open of the processor's clock, for all processes.
        "attributes = ctypes.create_string_buffer(struct.pack('=IIQ', 1, 128, 0) + bytes(112))
call({x86_64: 298, aarch64: 241}[os.uname().machine], attributes, -1, 0, -1, 0)",
    ),
    (
        "a module in the host's kernel",
        // Of nothing: a kernel that would take modules says that it is none, and not that this is not permitted.
        "libc.syscall({x86_64: 175, aarch64: 105}[os.uname().machine], b'', 0, b'')
sys.exit('not permitted') if ctypes.get_errno() == 1 else print('taken')",
    ),
    (
        "another kernel for the host",
        "libc.syscall({x86_64: 246, aarch64: 104}[os.uname().machine], 0, 0, 0, 0)
sys.exit('not permitted') if ctypes.get_errno() == 1 else print('taken')",
    ),
    (
        "a key of the host's root",
        // keyctl(KEYCTL_GET_KEYRING_ID) of the user's keyring.
        "call({x86_64: 250, aarch64: 219}[os.uname().machine], 0, -4, 1)",
    ),
    (
        "a word put into a terminal",
        "terminal = os.open('/dev/console', os.O_RDWR | os.O_NOCTTY); fcntl.ioctl(terminal, 0x5412, b'x')",
    ),
    (
        "the process namespace above its own",
        // NS_GET_PARENT, and into it.
        "above = fcntl.ioctl(os.open('/proc/1/ns/pid', os.O_RDONLY), 0xb702); call(308, above, 0)",
    ),
    (
        "the user namespace of the host",
        // NS_GET_USERNS of each of its namespaces: it may know its own, and nothing above.
        "own = os.stat('/proc/self/ns/user').st_ino
for kind in ['mnt', 'net', 'uts', 'ipc', 'pid', 'cgroup']:
    of = fcntl.ioctl(os.open('/proc/1/ns/' + kind, os.O_RDONLY), 0xb701)
    if open('/proc/self/uid_map').read().split()[1] == '0' or os.fstat(of).st_ino != own: sys.exit(0)
sys.exit('its own')",
    ),
    (
        "a process of the host's",
        "import signal
for pid in [SUPERVISOR]:
    os.kill(pid, 0)
    print(open(f'/proc/{pid}/cmdline').read())",
    ),
];

pub fn root_in_a_machine_gets_nothing_of_the_host(lab: &Lab) {
    let mut guest = lab.start(&lab.instance(vec![Layer::Base]));
    guest.online();
    let mut got = Vec::new();
    for (after, script) in SHELL {
        let outcome = guest.exec(script, PATIENCE);
        if outcome.exit == 0 {
            got.push(format!("{after}: {}", outcome.stdout));
        }
    }
    for (after, script) in CALLS {
        let script = script
            .replace("x86_64:", "'x86_64':")
            .replace("aarch64:", "'aarch64':")
            .replace("SUPERVISOR", &std::process::id().to_string());
        let outcome = guest.exec(&format!("python3 - <<'END'\n{PYTHON}\n{script}\nEND\n"), PATIENCE);
        // A mistake of ours must not pass for a refusal.
        let refused = outcome.stderr.lines().last().unwrap_or_default();
        let mistake = ["SyntaxError", "NameError", "TypeError", "KeyError", "struct.error"];
        assert!(!mistake.iter().any(|mistake| outcome.stderr.contains(mistake)), "{after}: {outcome:?}");
        if outcome.exit == 0 {
            got.push(format!("{after}: {} {refused}", outcome.stdout));
        }
    }
    assert!(got.is_empty(), "it got:\n{}", got.join("\n"));
}

/// The service knows a machine by its address: whoever could take another's would be given its role's key.
pub fn a_machine_with_another_s_address_gets_none_of_its_metadata(lab: &Lab) {
    let victim = lab.lenient();
    let mut guest = lab.start(&lab.instance(vec![Layer::Base]));
    guest.online();
    let address = victim.instance.address;
    let hardware = victim.sh("cat /sys/class/net/eth0/address");
    // It tells everybody that the address is its own; and then it takes the hardware address, too.
    let script = format!(
        "ip address add {address}/16 dev eth0
for hardware in $(cat /sys/class/net/eth0/address) {hardware}; do
  ip link set eth0 down; ip link set eth0 address $hardware; ip link set eth0 up
  ip route replace default via 10.99.0.1
  for round in 1 2 3; do
    python3 - $hardware {address} <<'END'
import socket, sys
hardware, address = bytes.fromhex(sys.argv[1].replace(':', '')), socket.inet_aton(sys.argv[2])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(('eth0', 0))
arp = b'\\x00\\x01\\x08\\x00\\x06\\x04\\x00\\x02' + hardware + address + hardware + address
link.send(b'\\xff' * 6 + hardware + b'\\x08\\x06' + arp)
END
    curl -s --max-time 1 --interface {address} http://169.254.169.254/latest/meta-data/instance-id
  done
done"
    );
    let outcome = guest.exec(&script, PATIENCE);
    assert!(!outcome.stdout.contains(victim.instance.id.as_str()), "{outcome:?}");
    // Nor did it take the address away from its owner.
    drop(guest);
    let own = victim.sh("curl -sf --max-time 30 http://169.254.169.254/latest/meta-data/instance-id");
    assert_eq!(own, victim.instance.id.as_str());
}

/// Machines share a network with `MiniStack` and the functions: of what listens there they may reach IMDS alone.
pub fn a_machine_reaches_nothing_of_the_cloud_s_network_but_its_metadata(lab: &Lab) {
    let guest = lab.strict();
    let network = lab.network.pid().expect("the network");
    let listener = std::process::Command::new("nsenter")
        .args([&format!("--net=/proc/{network}/ns/net"), "python3", "-m", "http.server", "8765"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut listener = listener.expect("a server in the cloud's network");
    let ask = |address: &str| {
        let script = format!("curl -s --max-time 2 -o /dev/null http://{address}:8765/");
        guest.exec(&script, PATIENCE).exit
    };
    let local = || {
        let network = format!("--net=/proc/{network}/ns/net");
        let curl = ["curl", "-s", "-o", "/dev/null", "http://10.99.0.1:8765/"];
        std::process::Command::new("nsenter").arg(network).args(curl).status().is_ok_and(|it| it.success())
    };
    crate::lab::until("the server listens", local);
    let answers: Vec<i32> = ["10.99.0.1", "169.254.169.254"].map(ask).to_vec();
    listener.kill().and_then(|()| listener.wait()).expect("the server ends");
    assert_eq!(answers, [28, 28], "a time limit that is over is what a dropped packet looks like");
}

pub fn root_in_a_machine_is_nobody_on_the_host(lab: &Lab) {
    let ids = |guest: &crate::guest::Guest| {
        let status = fs::read_to_string(format!("/proc/{}/status", guest.inside().pid)).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("its user");
        line.split('\t').next().and_then(|id| id.parse::<u32>().ok()).expect("a number")
    };
    let (one, other) = (ids(lab.strict()), ids(lab.lenient()));
    assert!(one >= 0x4000_0000 && other >= 0x4000_0000, "{one} and {other}");
    assert!(one.abs_diff(other) >= 65536, "{one} and {other} share ids");
    // The first process and a command alike.
    for process in ["1", "self"] {
        let status = lab.strict().sh(&format!("cat /proc/{process}/status"));
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.trim().to_owned()
        };
        assert_eq!(field("Seccomp:"), "2", "no system call is refused");
        let bounds = u64::from_str_radix(&field("CapBnd:"), 16).expect("a set");
        // Modules, raw I/O, accounting, the clock, devices, MAC, the kernel's log, wake-ups, suspending, audit,
        // performance, BPF, checkpoints.
        for capability in [16, 17, 20, 25, 27, 32, 33, 34, 35, 36, 37, 38, 39, 40] {
            assert_eq!(bounds & (1 << capability), 0, "process {process} may have capability {capability}");
        }
    }
}

pub fn nothing_of_the_supervisor_s_environment_is_shown(lab: &Lab) {
    let environment = lab.strict().sh("tr '\\0' '\\n' < /proc/$$/environ");
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.iter().all(|name| ["HOME", "OLDPWD", "PATH", "PWD"].contains(name)), "{environment}");
}

pub fn a_machine_has_only_so_many_processes(lab: &Lab) {
    let mut guest = lab.start(&lab.instance(vec![Layer::Base]));
    guest.online();
    let script = "import threading, time
threading.stack_size(65536)
count = 0
try:
    while count < 6000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        count += 1
except RuntimeError:
    pass
print(count, flush=True)
import os; os._exit(0)";
    let count = guest.sh(&format!("python3 -c '{script}'")).parse::<u32>().expect("a number");
    assert!((3000..4096).contains(&count), "{count}");
}

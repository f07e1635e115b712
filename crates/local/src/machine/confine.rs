//! What every process of a machine has given up for ever: capabilities and system calls.

use std::io;

use nix::libc;

/// The capabilities that systemd, and what it starts, needs in a user namespace (numbers of `linux/capability.h`).
///
/// They are those that systemd-nspawn gives, and a network's. All others are for the host's kernel as a whole, and
/// in a user namespace of no use. Without `CAP_SYS_RAWIO`, systemd doesn't try to mount debugfs and tracefs;
/// a unit that asks for `CAP_IPC_LOCK` and can't have it would not start.
const KEPT: &[libc::c_ulong] = &[
    0,  // CAP_CHOWN
    1,  // CAP_DAC_OVERRIDE
    2,  // CAP_DAC_READ_SEARCH
    3,  // CAP_FOWNER
    4,  // CAP_FSETID
    5,  // CAP_KILL
    6,  // CAP_SETGID
    7,  // CAP_SETUID
    8,  // CAP_SETPCAP
    9,  // CAP_LINUX_IMMUTABLE
    10, // CAP_NET_BIND_SERVICE
    11, // CAP_NET_BROADCAST
    12, // CAP_NET_ADMIN
    13, // CAP_NET_RAW
    14, // CAP_IPC_LOCK
    15, // CAP_IPC_OWNER
    18, // CAP_SYS_CHROOT
    19, // CAP_SYS_PTRACE
    21, // CAP_SYS_ADMIN
    22, // CAP_SYS_BOOT
    23, // CAP_SYS_NICE
    24, // CAP_SYS_RESOURCE
    26, // CAP_SYS_TTY_CONFIG
    28, // CAP_LEASE
    29, // CAP_AUDIT_WRITE
    30, // CAP_AUDIT_CONTROL
    31, // CAP_SETFCAP
];

/// System calls that nothing in a machine may make. The kernel refuses most of them to a machine's root anyway: here
/// they are refused before the kernel's own code is reached, and where there is no user namespace.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_request_key,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    // The kernel's log is the host's.
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];

/// Requests of ioctl(2) that put words into a terminal, as if its owner had typed them: `local shell` lends the
/// operator's terminal to the machine. `TIOCSTI` and `TIOCLINUX` of `asm-generic/ioctls.h`.
const DENIED_REQUESTS: [u32; 2] = [0x5412, 0x541C];

/// The kind of system calls that the filter knows (`linux/audit.h`).
const NATIVE: u32 = if cfg!(target_arch = "aarch64") { 0xC000_00B7 } else { 0xC000_003E };

/// The bit that marks calls of x86's third kind, x32 (`asm/unistd.h`); no number of another kind has it.
const X32: u32 = 0x4000_0000;

/// Gives them up, for this process and all that it starts. It must have `CAP_SYS_ADMIN` in its user namespace.
pub(super) fn confine() -> io::Result<()> {
    drop_capabilities()?;
    filter_calls()
}

/// Takes every other capability from the bounding set: no program can get it any more, not even by its setuid bit.
fn drop_capabilities() -> io::Result<()> {
    for capability in 0.. {
        // The kernel says of the first number that it doesn't know that it is none.
        if control(libc::PR_CAPBSET_READ, capability).is_err() {
            break;
        }
        if !KEPT.contains(&capability) {
            control(libc::PR_CAPBSET_DROP, capability)?;
        }
    }
    Ok(())
}

fn control(option: libc::c_int, number: libc::c_ulong) -> io::Result<()> {
    #[expect(unsafe_code, reason = "prctl with these options takes numbers and touches no memory")]
    // SAFETY: all its arguments are numbers.
    let answer = unsafe { libc::prctl(option, number, 0, 0, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn filter_calls() -> io::Result<()> {
    let mut program = program();
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    #[expect(unsafe_code, reason = "prctl(PR_SET_SECCOMP) has no wrapper")]
    // SAFETY: the kernel copies the program, whose length is its own, before the call ends.
    let answer = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::c_ulong::from(libc::SECCOMP_MODE_FILTER), &raw const filter)
    };
    if answer != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The filter, in the language of seccomp(2): what is not refused is allowed, and what is refused fails with an error
/// that programs know.
fn program() -> Vec<libc::sock_filter> {
    // Where struct seccomp_data has the call's number, its kind, and the lower half of its second argument.
    const NUMBER: u32 = 0;
    const KIND: u32 = 4;
    const REQUEST: u32 = 24;
    const EQUAL: u32 = libc::BPF_JEQ;
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let when = |test, value, yes, no| step(libc::BPF_JMP | test | libc::BPF_K, value, yes, no);
    let end = |action| step(libc::BPF_RET | libc::BPF_K, action, 0, 0);
    let refuse = |error: i32| end(libc::SECCOMP_RET_ERRNO | error.cast_unsigned());
    let mut program = vec![
        load(KIND),
        when(EQUAL, NATIVE, 1, 0),
        // 32-bit programs: their calls have other numbers.
        refuse(libc::ENOSYS),
        load(NUMBER),
        when(libc::BPF_JGE, X32, 0, 1),
        refuse(libc::ENOSYS),
    ];
    for call in DENIED.iter().filter_map(|call| u32::try_from(*call).ok()) {
        program.extend([when(EQUAL, call, 0, 1), refuse(libc::EPERM)]);
    }
    let ioctl = u32::try_from(libc::SYS_ioctl).unwrap_or(u32::MAX);
    program.extend([when(EQUAL, ioctl, 1, 0), end(libc::SECCOMP_RET_ALLOW), load(REQUEST)]);
    for request in DENIED_REQUESTS {
        program.extend([when(EQUAL, request, 0, 1), refuse(libc::EPERM)]);
    }
    program.push(end(libc::SECCOMP_RET_ALLOW));
    program
}

fn step(code: u32, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    // Every code is made of bits of the lower two bytes.
    let code = u16::try_from(code).unwrap_or(u16::MAX);
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}

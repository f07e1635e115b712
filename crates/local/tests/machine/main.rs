//! Real machines, watched from outside: they need root, and the base that `ovenbird local up` makes, too.
//!
//! Without root or a needed program they are skipped, out loud; with `CI` set they fail. The harness is our own
//! because a machine's first process is the running program again: this one.

mod boot;
mod commands;
mod death;
mod disks;
mod lab;
mod network;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::OnceLock,
};

use libtest_mimic::{Arguments, Failed, Trial};

use self::lab::Lab;

type Test = fn(&Lab);

const TESTS: &[(&str, Test)] = &[
    ("boot::user_data_is_done_within_four_seconds", boot::user_data_is_done_within_four_seconds),
    (
        "boot::a_machine_outlives_the_thread_that_started_it",
        boot::a_machine_outlives_the_thread_that_started_it,
    ),
    ("boot::a_machine_cannot_change_the_host", boot::a_machine_cannot_change_the_host),
    ("boot::a_start_that_fails_leaves_nothing", boot::a_start_that_fails_leaves_nothing),
    ("boot::power_off_from_inside_ends_it", boot::power_off_from_inside_ends_it),
    ("boot::power_off_from_outside_keeps_the_disk", boot::power_off_from_outside_keeps_the_disk),
    ("commands::a_command_answers_with_all_it_said", commands::a_command_answers_with_all_it_said),
    ("commands::a_command_does_not_wait_for_its_daemons", commands::a_command_does_not_wait_for_its_daemons),
    ("commands::a_timeout_ends_everything_it_started", commands::a_timeout_ends_everything_it_started),
    ("commands::a_dropped_command_ends", commands::a_dropped_command_ends),
    ("disks::a_second_machine_boots_from_a_frozen_disk", disks::a_second_machine_boots_from_a_frozen_disk),
    ("disks::a_hundred_and_twenty_layers_boot", disks::a_hundred_and_twenty_layers_boot),
    ("network::imds_wants_a_token_when_told_so", network::imds_wants_a_token_when_told_so),
    ("network::imds_answers_without_a_token_when_it_may", network::imds_answers_without_a_token_when_it_may),
    ("network::one_url_reaches_the_endpoint", network::one_url_reaches_the_endpoint),
    ("network::a_port_is_forwarded_to_the_host", network::a_port_is_forwarded_to_the_host),
    ("network::machines_reach_each_other_and_a_resolver", network::machines_reach_each_other_and_a_resolver),
    ("death::sigkill_of_the_supervisor_leaves_nothing", death::sigkill_of_the_supervisor_leaves_nothing),
];

fn main() -> ExitCode {
    if let Some(code) = ovenbird_local::hidden_main() {
        return code;
    }
    if std::env::args().nth(1).as_deref() == Some(death::SUPERVISE) {
        return death::supervise();
    }
    let mut arguments = Arguments::from_args();
    // Two cores, and figures to measure: one after another.
    arguments.test_threads = Some(1);
    let missing = lab::missing();
    let skip = !missing.is_empty() && std::env::var_os("CI").is_none();
    if skip {
        eprintln!("SKIPPED: tests of real machines: {}", missing.join("; "));
    }
    let trials = TESTS.iter().map(|(name, test)| {
        let missing = missing.clone();
        let run = move || {
            if missing.is_empty() { run(*test) } else { Err(Failed::from(missing.join("; "))) }
        };
        Trial::test(*name, run).with_ignored_flag(skip)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    lab::close();
    conclusion.exit_code()
}

fn run(test: Test) -> Result<(), Failed> {
    static LAB: OnceLock<Lab> = OnceLock::new();
    let lab = LAB.get_or_init(Lab::open);
    // What a panic leaves of a machine goes with its guard.
    catch_unwind(AssertUnwindSafe(|| test(lab))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default().into()
    })
}

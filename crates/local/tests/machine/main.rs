//! Real machines, watched from outside.
//!
//! They need root and what `ovenbird local up` needs. Without it they are skipped, out loud; with `CI` set they fail.
//! The harness is our own because a machine's first process is the running program again: this one.

mod base;
mod boot;
mod cloud;
mod commands;
mod death;
mod disks;
mod escapes;
mod guest;
mod kills;
mod lab;
mod left;
mod network;
mod services;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::OnceLock,
};

use libtest_mimic::{Arguments, Failed, Trial};

use self::lab::Lab;

type Test = fn(&Lab);

const TESTS: &[(&str, Test)] = &[
    ("boot::user_data_runs", boot::user_data_runs),
    (
        "boot::a_machine_outlives_the_thread_that_started_it",
        boot::a_machine_outlives_the_thread_that_started_it,
    ),
    ("boot::a_machine_cannot_change_the_host", boot::a_machine_cannot_change_the_host),
    ("boot::a_start_without_a_network_leaves_nothing", boot::a_start_without_a_network_leaves_nothing),
    ("boot::a_start_without_a_layer_leaves_nothing", boot::a_start_without_a_layer_leaves_nothing),
    (
        "boot::a_machine_stops_at_any_moment_and_keeps_its_disk",
        boot::a_machine_stops_at_any_moment_and_keeps_its_disk,
    ),
    (
        "boot::who_has_the_launch_s_key_logs_in_and_may_become_root",
        boot::who_has_the_launch_s_key_logs_in_and_may_become_root,
    ),
    ("boot::a_machine_starts_again_with_other_ids", boot::a_machine_starts_again_with_other_ids),
    (
        "boot::a_machine_that_calls_for_a_reboot_is_told_from_one_that_powers_off",
        boot::a_machine_that_calls_for_a_reboot_is_told_from_one_that_powers_off,
    ),
    ("commands::a_command_answers_with_all_it_said", commands::a_command_answers_with_all_it_said),
    ("commands::a_command_does_not_wait_for_its_daemons", commands::a_command_does_not_wait_for_its_daemons),
    ("commands::a_timeout_ends_everything_it_started", commands::a_timeout_ends_everything_it_started),
    (
        "commands::a_dropped_command_ends_but_not_its_services",
        commands::a_dropped_command_ends_but_not_its_services,
    ),
    ("disks::an_image_boots_whether_sealed_or_not", disks::an_image_boots_whether_sealed_or_not),
    ("disks::a_hundred_and_twenty_layers_boot", disks::a_hundred_and_twenty_layers_boot),
    (
        "disks::more_layers_than_overlayfs_takes_are_refused",
        disks::more_layers_than_overlayfs_takes_are_refused,
    ),
    (
        "disks::an_image_boots_with_other_ids_than_its_maker_s",
        disks::an_image_boots_with_other_ids_than_its_maker_s,
    ),
    (
        "disks::an_image_made_without_a_user_namespace_boots_in_one",
        disks::an_image_made_without_a_user_namespace_boots_in_one,
    ),
    ("boot::a_home_that_cannot_map_owners_is_told", boot::a_home_that_cannot_map_owners_is_told),
    (
        "escapes::root_in_a_machine_gets_nothing_of_the_host",
        escapes::root_in_a_machine_gets_nothing_of_the_host,
    ),
    (
        "escapes::a_machine_with_another_s_address_gets_none_of_its_metadata",
        escapes::a_machine_with_another_s_address_gets_none_of_its_metadata,
    ),
    (
        "escapes::a_machine_reaches_nothing_of_the_cloud_s_network_but_its_metadata",
        escapes::a_machine_reaches_nothing_of_the_cloud_s_network_but_its_metadata,
    ),
    ("escapes::root_in_a_machine_is_nobody_on_the_host", escapes::root_in_a_machine_is_nobody_on_the_host),
    (
        "escapes::nothing_of_the_supervisor_s_environment_is_shown",
        escapes::nothing_of_the_supervisor_s_environment_is_shown,
    ),
    ("escapes::a_machine_has_only_so_many_processes", escapes::a_machine_has_only_so_many_processes),
    (
        "network::nothing_of_the_host_is_reached_but_the_endpoint",
        network::nothing_of_the_host_is_reached_but_the_endpoint,
    ),
    (
        "network::a_function_reaches_nothing_of_the_host_but_the_endpoint",
        network::a_function_reaches_nothing_of_the_host_but_the_endpoint,
    ),
    (
        "base::two_clouds_that_come_up_at_once_make_the_base_once",
        base::two_clouds_that_come_up_at_once_make_the_base_once,
    ),
    (
        "base::a_base_whose_maker_was_killed_is_not_made_twice_at_once",
        base::a_base_whose_maker_was_killed_is_not_made_twice_at_once,
    ),
    ("left::down_ends_what_a_killed_cloud_left", left::down_ends_what_a_killed_cloud_left),
    ("left::reset_of_a_killed_cloud_leaves_nothing", left::reset_of_a_killed_cloud_leaves_nothing),
    ("network::imds_wants_a_token_when_told_so", network::imds_wants_a_token_when_told_so),
    ("network::imds_answers_without_a_token_when_it_may", network::imds_answers_without_a_token_when_it_may),
    ("network::the_gateway_keeps_its_hardware_address", network::the_gateway_keeps_its_hardware_address),
    (
        "network::a_machine_that_ended_answers_for_its_address_no_more",
        network::a_machine_that_ended_answers_for_its_address_no_more,
    ),
    ("network::port_80_is_free_for_a_web_server", network::port_80_is_free_for_a_web_server),
    (
        "network::one_url_reaches_the_endpoint_and_nothing_else",
        network::one_url_reaches_the_endpoint_and_nothing_else,
    ),
    ("network::a_port_is_forwarded_to_the_host", network::a_port_is_forwarded_to_the_host),
    (
        "network::a_port_is_reached_from_the_network_of_all_machines",
        network::a_port_is_reached_from_the_network_of_all_machines,
    ),
    ("network::machines_reach_each_other_and_a_resolver", network::machines_reach_each_other_and_a_resolver),
    (
        "services::a_service_that_does_not_stay_up_fails_its_step_with_systemd_s_reason",
        services::a_service_that_does_not_stay_up_fails_its_step_with_systemd_s_reason,
    ),
    (
        "services::a_service_that_flaps_passes_no_test_however_often_it_is_tried",
        services::a_service_that_flaps_passes_no_test_however_often_it_is_tried,
    ),
    ("death::sigkill_of_the_supervisor_leaves_nothing", death::sigkill_of_the_supervisor_leaves_nothing),
    ("kills::a_cloud_that_is_down_leaves_no_cgroup", kills::a_cloud_that_is_down_leaves_no_cgroup),
    (
        "kills::a_cloud_that_is_killed_at_any_moment_loses_nothing_and_leaves_nothing",
        kills::a_cloud_that_is_killed_at_any_moment_loses_nothing_and_leaves_nothing,
    ),
];

fn main() -> ExitCode {
    if let Some(code) = ovenbird_local::hidden_main() {
        return code;
    }
    if std::env::args().nth(1).as_deref() == Some(death::SUPERVISE) {
        return death::supervise();
    }
    if std::env::args().nth(1).as_deref() == Some(cloud::SERVE) {
        return cloud::serve_cloud();
    }
    let mut arguments = Arguments::from_args();
    // Two cores: one after another.
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

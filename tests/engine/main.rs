//! The contract of the engine seam. Each fact is written against `Engine` alone and takes the engine as an
//! argument, so that another engine can be held to the same ones; here they run on the real Docker Engine.
//!
//! What an engine claims is checked by another witness: the `docker` program, files and sockets.
//! Needs the image `agenttest-base:1` (`script/bootstrap --test` makes it).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests; the lints know only functions marked as such"
)]

mod builds;
mod crash;
mod foreign;
mod happenings;
mod images;
mod lifetime;
mod names;
mod networks;
mod registry;
mod rendering;
mod tools;
mod yard;

use std::time::Duration;

use agent::engine::docker::Docker;
use yard::Yard;

/// Far longer than any takes: what never comes must not hang the rest.
async fn within_bounds(fact: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(120), fact).await.expect("the fact shows itself in time");
}

/// Each fact becomes a test that runs it on a stack of its own.
macro_rules! contract {
    ($($room:ident { $($fact:ident)* })*) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $fact() {
            let engine = Docker::connect(None).await.expect("a Docker Engine answers");
            let yard = Yard::swept(stringify!($fact));
            within_bounds($room::$fact(&engine, &yard)).await;
        }
    )*)*};
}

/// Its own, because signing in is not the seam's affair.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_registry_serves_who_is_signed_in() {
    let yard = Yard::swept("private-registry");
    within_bounds(registry::a_private_registry_serves_who_is_signed_in(&yard)).await;
}

contract! {
    lifetime {
        an_instance_is_created_runs_and_ends
        the_end_of_the_logs_is_read_from_both_streams
        logs_are_followed_to_the_end
        a_shelved_instance_is_no_part_of_the_stack_and_keeps_its_logs
        its_stop_signal_lets_it_end_in_peace
        one_that_ignores_its_signal_is_killed_after_the_grace
        what_is_gone_is_stopped_and_removed_already
        anonymous_volumes_stay_and_are_taken_over
        commands_run_inside_tell_their_code_and_output
        signals_arrive
        health_goes_from_starting_to_healthy_to_unhealthy
        a_command_that_does_not_exist_is_refused
        a_restart_is_counted
        a_name_that_is_taken_is_refused
    }
    rendering {
        environment_user_and_folder_are_as_the_template_says
        rights_and_limits_are_as_the_template_says
        hosts_and_kernel_settings_are_as_the_template_says
        mounts_are_as_the_template_says
        a_bind_without_its_source_is_refused_unless_it_may_be_made
        a_published_port_answers
        a_port_that_is_taken_is_refused
        a_terminal_and_a_shared_network_space_are_given
    }
    networks {
        a_network_is_made_once_with_a_half_for_strangers
        a_stack_may_say_its_own_subnet
        ipv6_stands_beside_addresses_of_ours
        networks_get_different_subnets_when_made_at_once
        a_network_made_by_half_is_made_whole
        an_external_network_must_exist_and_is_left_alone
        somebody_elses_network_is_refused
        a_network_with_other_settings_is_refused
        addresses_stay_over_stop_and_start
        a_stranger_never_gets_an_address_of_ours
    }
    names {
        only_admitted_instances_are_found_by_name
        an_instance_is_found_on_each_of_its_networks
        admission_breaks_no_connection
        admitting_twice_changes_nothing
    }
    crash {
        an_admission_cut_off_half_way_is_finished_by_the_next
        a_frozen_instance_is_thawed_by_start
    }
    foreign {
        what_is_not_the_stacks_is_never_listed
        what_is_not_the_agents_is_never_stopped_or_removed
        only_the_stacks_networks_and_volumes_are_removed
        a_volume_that_exists_is_used_and_kept
    }
    builds {
        a_build_gives_a_labelled_image_and_tells_its_steps
        the_same_inputs_are_not_built_twice
        arguments_target_and_hosts_reach_the_build
        a_step_that_fails_is_named_with_its_last_lines
        a_dockerfile_that_cannot_be_read_says_where
        a_base_image_that_is_nowhere_is_named
        a_context_that_breaks_says_why
        a_dropped_build_ends
        a_build_leaves_no_connection_behind
    }
    images {
        names_are_given_and_taken
        an_image_in_use_stays
        an_image_that_is_nowhere_is_refused_by_name
        a_moved_tag_does_not_change_what_runs
        a_registry_that_does_not_answer_is_waited_for
    }
    happenings {
        what_happens_to_the_stack_is_told
        a_command_runs_aside_and_leaves_nothing
        a_command_aside_sees_the_mounts_and_no_network
    }
    tools {
        compose_lists_the_stack
    }
}

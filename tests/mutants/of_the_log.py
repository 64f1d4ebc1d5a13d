"""The critical lines of the log: append, the hash chain, the bus, its readers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_LOG, _AUDIT = "sql/eventstore/log/", "sql/audit/log/"
_STORE, _COMMANDS = "app/foldbook/eventstore/", "app/foldbook/eventstore/commands/"
_CONTRACT, _BUS = "eventstore/test_store_contract.py::", "eventstore/test_bus.py::"

APPEND = [
    Mutant(
        "app/foldbook/eventstore/postgres_store.py",
        "if self._warning is not None:",
        "if False:",
        "faults/test_replicas.py::test_what_is_answered_a_second_time_waits_for_the_replica_too",
    ),
    Mutant(
        _LOG + "append.sql",
        "p.known_fingerprint is null\n",
        "true\n",
        _CONTRACT + "test_a_duplicate_writes_nothing_and_says_whether_it_is_the_same",
    ),
    Mutant(
        _LOG + "append.sql",
        "and not p.is_taken",
        "",
        _CONTRACT + "test_a_subject_that_should_be_absent_is_looked_up_in_its_own_aggregate",
    ),
    Mutant(
        _LOG + "append.sql",
        "coalesce(p.expected_sequence + p.event_index = p.stored_sequence + p.earlier_events, true)",
        "true",
        _CONTRACT + "test_a_conflict_names_the_sequence_and_affects_no_other",
    ),
    Mutant(
        _LOG + "append.sql",
        "j.is_clean and (\n",
        "j.is_clean or (false and\n",
        _CONTRACT + "test_nothing_decided_after_a_conflict_is_appended_even_if_the_number_fits",
    ),
    Mutant(
        _LOG + "append_one.sql",
        "coalesce(p_expected_sequence = coalesce(s.stored_sequence, 0), true)",
        "true",
        _CONTRACT + "test_one_command_alone_is_judged_as_it_is_in_a_batch",
    ),
    Mutant(
        _LOG + "append.sql",
        "c.command_id = p.command_id and c.aggregate_id = p.aggregate_id",
        "c.command_id = p.command_id",
        _CONTRACT + "test_an_id_belongs_to_its_aggregate",
    ),
    Mutant(
        _LOG + "append.sql",
        "greatest(clock_timestamp(), v_head.recorded_at)",
        "clock_timestamp()",
        "eventstore/test_clock.py::test_a_clock_that_was_set_back_moves_no_commit_back",
    ),
    Mutant(
        _LOG + "append_one.sql",
        "greatest(clock_timestamp(), v_head.recorded_at)",
        "clock_timestamp()",
        "eventstore/test_clock.py::test_a_clock_that_was_set_back_moves_no_commit_back",
    ),
    Mutant(
        "alembic/versions/0009_commands_of_aggregates.py",
        "add primary key (shard, command_id, aggregate_id, aggregate_type)",
        "add primary key (shard, command_id)",
        _CONTRACT + "test_an_id_belongs_to_its_aggregate",
    ),
]

CHAIN = [
    Mutant(
        _LOG + "commit_hash.sql",
        "    p_previous_hash, p_shard,",
        "    ''::bytea, p_shard,",
        "audit/test_export.py::test_it_says_what_the_log_says",
    ),
    Mutant(
        _AUDIT + "verify_commits.sql",
        "where e.hash is distinct from e.computed_hash",
        "where false",
        "audit/test_tampering.py::test_it_is_found",
    ),
    Mutant(
        _AUDIT + "verify_commits.sql",
        "and c.previous_hash is distinct from c.expected_previous_hash",
        "and false",
        "audit/test_tampering.py::test_it_is_found",
    ),
    Mutant(
        "app/foldbook/audit/offline.py",
        "if event.hash != _hash_event(event).hex():",
        "if False:",
        "audit/test_export.py::test_an_edited_line_is_found",
    ),
    Mutant(
        "app/foldbook/audit/offline.py",
        "is_sealed = commit.hash == _hash_commit(commit, commands, events).hex()",
        "is_sealed = True",
        "audit/test_tampering.py::test_it_is_found",
    ),
    Mutant(
        "app/foldbook/audit/files.py",
        "if row.shard != shard:",
        "if False:",
        "audit/test_malformed.py::test_rows_of_another_shard_are_refused",
    ),
    Mutant(
        "sql/security/refuse_change.sql",
        "update or delete or truncate on eventstore.events",
        "update or truncate on eventstore.events",
        "audit/test_append_only.py::test_it_is_refused",
    ),
]

BUS = [
    Mutant(
        _COMMANDS + "deciding.py",
        "if submission.expected_sequence is not None and submission.expected_sequence != sequence:",
        "if False:",
        "api/test_conditions.py::test_a_command_is_conditional_on_the_sequence",
    ),
    Mutant(
        _COMMANDS + "results.py",
        "elif verdict.fate is Fate.DUPLICATE and not verdict.is_same_content:",
        "elif False:",
        _BUS + "test_the_same_id_with_other_content_is_refused",
    ),
    Mutant(
        _COMMANDS + "shard_bus.py",
        "self.states.store(landed.after, broken)",
        "self.states.store(landed.after, {})",
        _BUS + "test_two_buses_on_one_log_lose_nothing",
    ),
    Mutant(
        _COMMANDS + "shard_bus.py",
        "            batch = batch.without(broken)\n",
        "",
        _BUS + "test_two_buses_on_one_log_lose_nothing",
    ),
    Mutant(
        _COMMANDS + "shard_bus.py",
        "if len(self.queue) >= self._limits.queue_max:",
        "if False:",
        _BUS + "test_a_full_queue_refuses_at_once",
    ),
    Mutant(
        _STORE + "strict_json.py",
        "if len(dict(pairs)) != len(pairs):",
        "if False:",
        "audit/test_malformed.py::test_a_key_twice_is_refused",
    ),
]

READERS = [
    Mutant(
        "app/foldbook/eventstore/readers/following.py",
        "if last != self._last:",
        "if False:",
        "faults/test_failover.py::test_who_follows_an_aggregate_reads_it_again_where_the_log_was_put_back",
    ),
    Mutant(
        _STORE + "readers/hints.py",
        "is_set_within(self._woken, poll_interval_s)",
        "is_set_within(self._woken, None)",
        "readside/test_subscriptions.py::test_without_a_hint_it_looks_again_after_the_poll_interval",
    ),
    Mutant(
        _STORE + "readers/hints.py",
        "is_set_within(self._woken, poll_interval_s)",
        "is_set_within(self._woken, None)",
        "readside/test_running.py::test_without_any_notification_the_poll_finds_what_was_written",
    ),
    Mutant(
        "sql/eventstore/projections/projection_round.sql",
        "    for no key update skip locked;",
        "    ;",
        "readside/test_subscriptions.py::test_a_round_beside_a_round_does_nothing_and_waits_for_nothing",
    ),
    Mutant(
        "sql/eventstore/projections/projection_round.sql",
        "update skip locked;",
        "update;",
        "readside/test_subscriptions.py::test_a_round_beside_a_round_does_nothing_and_waits_for_nothing",
    ),
    Mutant(
        "sql/eventstore/projections/projection_apply.sql",
        "v_done := v_letter.position;",
        "v_done := v_letter.position - 1;",
        "readside/test_skipping.py::test_every_later_copy_skips_the_same_event",
    ),
    Mutant(
        _LOG + "read_events.sql",
        "coalesce(v_searched_to, v_head)",
        "v_searched_to",
        "api/test_plans.py::test_a_page_of_what_has_very_many_events_is_bounded",
    ),
    Mutant(
        _STORE + "readers/read_gate.py",
        "FRESH_S and self._checkpoints.get(place, -1) >= position:",
        "FRESH_S or True:",
        "readside/test_read_gate.py::test_a_wait_in_vain_is_reported",
    ),
]

LOG = [*APPEND, *CHAIN, *BUS, *READERS]

"""The critical lines of access, brokers, trading, messages and the engine."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ACCESS = [
    Mutant(
        "app/foldbook/access/principal.py",
        "if account is not None and not self.sees(account):",
        "if False:",
        "access/test_idempotency.py::test_traders_of_several_accounts_may_use_the_same_ids",
    ),
    Mutant(
        "app/foldbook/access/principal.py",
        "if not self.may(roles):",
        "if False:",
        "access/test_roles.py::test_every_role_may_do_what_the_table_says",
    ),
    Mutant(
        "app/foldbook/access/principal.py",
        "if on_behalf_of is not None and not self.is_operator:",
        "if False:",
        "access/test_forged.py::test_an_actor_that_a_trader_claims_to_be",
    ),
    Mutant(
        "app/foldbook/access/roles.py",
        'want in ("*", name) for',
        'want[:1] in ("*", name[:1]) for',
        "access/test_patterns.py::test_what_a_pattern_means",
    ),
    Mutant(
        "sql/eventstore/values/matches.sql",
        "in ('*', split_part(p_aggregate_id, '/', 2))",
        "is not null",
        "access/test_patterns.py::test_python_and_sql_agree",
    ),
    Mutant(
        "app/foldbook/access/keyring.py",
        "if held is None or held.key.is_expired(self._now()):",
        "if held is None:",
        "access/test_keyring.py::test_an_expired_key_is_refused_without_being_told",
    ),
    Mutant(
        "app/foldbook/api/hosts.py",
        'if not self._is_ours(found[1].strip("[]")):',
        "if False:",
        "access/test_forged.py::test_a_host_that_is_not_ours",
    ),
    Mutant(
        "app/foldbook/api/hosts.py",
        "if origin is not None and origin not in",
        "if False and origin not in",
        "access/test_forged.py::test_a_page_of_another_origin",
    ),
    Mutant(
        "app/foldbook/api/streams/events.py",
        "                    self._gate.check_live(principal)\n",
        "",
        "streams/test_keys.py::test_a_key_that_expires_gets_nothing_more",
    ),
]

BROKERS = [
    Mutant(
        "app/foldbook/brokers/legs.py",
        "if lacks_fills(order, state.quantity, state.cum_qty):",
        "if False:",
        "brokers/test_successors.py::test_a_new_leg_waits_for_the_fills_that_the_broker_has_not_told",
    ),
    Mutant(
        "app/foldbook/brokers/work.py",
        "if order_id is not None and self.ends.is_early(report, order_id):",
        "if False:",
        "brokers/test_ends.py::test_the_exits_of_an_entry_whose_fill_is_told_after_its_end_are_sent",
    ),
    Mutant(
        "app/foldbook/trading/doubts.py",
        "if command.outcome is DoubtOutcome.RESEND and not record_attempt(_again(command, order, doubt), book):",
        "if False:",
        "trading/test_doubts.py::test_what_would_not_be_sent_again_stays_in_doubt",
    ),
    Mutant(
        "app/foldbook/brokers/work.py",
        "if sequence - len(events) != self.sequence:",
        "if False:",
        "brokers/test_work.py::test_events_that_do_not_follow_those_before_are_not_heard",
    ),
    Mutant(
        "app/foldbook/brokers/work.py",
        "if command_id in self._attempts:",
        "if True:",
        "brokers/test_work.py::test_what_another_process_has_attempted_is_in_doubt_and_is_not_sent",
    ),
    Mutant(
        "app/foldbook/brokers/work.py",
        "if isinstance(outcome, InDoubt):",
        "if isinstance(outcome, InDoubt):\n"
        "            self.told(action.order_id, ExecType.REJECTED, reason=outcome.reason)\n"
        "        elif isinstance(outcome, InDoubt):",
        "brokers/test_work.py::test_what_has_no_clear_answer_is_in_doubt_and_neither_refused_nor_sent_again",
    ),
    Mutant(
        "app/foldbook/brokers/work.py",
        "if not self.is_ready and action.request is not RequestKind.CANCEL:",
        "if not self.is_ready:",
        "brokers/test_work.py::test_before_it_is_reconciled_only_cancels_are_attempted",
    ),
    Mutant(
        "app/foldbook/brokers/work.py",
        "if not self.is_ready and action.request is not RequestKind.CANCEL:",
        "if False:",
        "brokers/test_work.py::test_before_it_is_reconciled_only_cancels_are_attempted",
    ),
    Mutant(
        "app/foldbook/brokers/desk.py",
        "await self._lease.wait_for(send_s)",
        "pass",
        "brokers/test_work.py::test_without_the_lease_nothing_is_sent_and_the_term_ends",
    ),
    Mutant(
        "app/foldbook/brokers/reports.py",
        "content = msgspec.json.encode((order_id, recorded))",
        "content = msgspec.json.encode((order_id, report))",
        "brokers/test_work.py::test_a_report_in_other_words_is_the_same_command",
    ),
    Mutant(
        "app/foldbook/brokers/reports.py",
        'return Metadata(actor=ACTOR, raw_message=raw.replace("\\x00", " "))',
        "return _METADATA",
        "brokers/test_work.py::test_a_clear_refusal_is_a_rejection",
    ),
    Mutant(
        "sql/eventstore/leases/append_under_lease.sql",
        "l.name = p_lease and l.epoch = p_epoch and l.holder = p_holder",
        "l.name = p_lease",
        "api/test_gateways.py::test_a_lease_has_one_holder_and_an_append_under_an_old_epoch_is_refused",
    ),
]

TRADING = [
    Mutant(
        "app/foldbook/trading/state.py",
        "if not is_live and order.requests and not order.has_ended:",
        "if False:",
        "trading/test_doubts.py::test_an_order_that_has_filled_is_remembered_until_what_was_asked_of_it_is_answered",
    ),
    Mutant(
        "app/foldbook/trading/requests.py",
        "    if order.pending_request is PendingRequest.CANCEL:\n",
        '    if order.pending_request is PendingRequest.CANCEL or book.risk.state == "HALTED":\n',
        "trading/test_risk_in_book.py::test_a_cancel_always_passes",
    ),
    Mutant(
        "app/foldbook/trading/risk_checks.py",
        "(state is _HALTED and halted(change))",
        "False",
        "trading/test_risk.py::test_the_trading_state",
    ),
    Mutant(
        "app/foldbook/trading/risk_checks.py",
        "(limits.max_position is not None and max_position(change, limits.max_position))",
        "False",
        "trading/test_risk.py::test_the_limits_of_an_account_and_of_a_symbol",
    ),
    Mutant(
        "app/foldbook/trading/executions.py",
        "overfill_qty=subtract(cum_qty, quantity) or ZERO if",
        "overfill_qty=ZERO if",
        "trading/test_book.py::test_accepted",
    ),
    Mutant(
        "app/foldbook/trading/executions.py",
        "return () if is_same_fill(command, known) else (recorded(FillConflictDetected, command),)",
        "return ()",
        "trading/test_reports.py::test_an_exec_id_with_other_content_is_never_silent",
    ),
    Mutant(
        "app/foldbook/trading/requests.py",
        "if not order.is_live:",
        "if False:",
        "trading/test_book.py::test_refused",
    ),
    Mutant(
        "app/foldbook/trading/doubts.py",
        "if order.attempts and book.risk.state is TradingState.HALTED:",
        "if False:",
        "trading/test_doubts.py::test_an_account_that_was_halted_sends_nothing_again",
    ),
    Mutant(
        "app/foldbook/trading/values.py",
        "EXACT = Context(prec=120,",
        "EXACT = Context(prec=20,",
        "trading/test_book.py::test_the_largest_and_the_smallest_amounts_are_exact",
    ),
    Mutant(
        "app/foldbook/trading/values.py",
        "if over > 0 or (over == 0 and whole.as_tuple().digits[-1] % 2):",
        "if over >= 0:",
        "readside/test_average.py::test_an_average",
    ),
    Mutant(
        "sql/trading/folds/quotient.sql",
        " and v_whole % 2 = 1",
        "",
        "readside/test_average.py::test_an_average",
    ),
    Mutant(
        "sql/trading/folds/quotient.sql",
        " or v_twice_the_rest = v_divisor and v_whole % 2 = 1",
        "",
        "readside/test_average.py::test_an_average",
    ),
]

MESSAGES = [
    Mutant(
        "app/foldbook/client/inbox.py",
        "if place.position <= after:",
        "if False:",
        "messaging/test_relay.py::test_a_relay_killed_between_confirm_and_checkpoint_repeats_and_misses_nothing",
    ),
    Mutant(
        "app/foldbook/messaging/relay.py",
        "reached = self._began + self._publisher.confirmed",
        "reached = self._began + self._publisher.sent",
        "messaging/test_relay.py::test_a_queue_that_refuses_more_holds_the_relay_and_it_says_so",
    ),
    Mutant(
        "app/foldbook/messaging/publishing.py",
        "max(self.count, tag if self.refused is None else min(tag, self.refused - 1))",
        "max(self.count, tag)",
        "messaging/test_confirms.py::test_where_one_was_refused_the_count_stands",
    ),
    Mutant(
        "app/foldbook/messaging/intake.py",
        "            self._last = future\n",
        "            self._last, taken.is_done = future, True\n            self._progress.set()\n",
        "messaging/test_intake.py::test_what_was_not_acknowledged_comes_again_and_is_answered_with_the_first_result",
    ),
]

ENGINE = [
    Mutant(
        "app/foldbook/engine/parts.py",
        "pass_fds=(self.lock_fd, *(",
        "pass_fds=(*(",
        "machinery/test_up.py::test_every_part_holds_the_lock_of_the_folder",
    ),
    Mutant(
        "app/foldbook/postgres/embedded.py",
        '"synchronous_commit": "on",',
        '"synchronous_commit": "off",',
        "machinery/test_embedded.py::test_durability_is_on",
    ),
    Mutant(
        "app/foldbook/postgres/sessions.py",
        '"synchronous_commit": "on",',
        "",
        "machinery/test_embedded.py::test_durability_is_on_in_our_sessions_whatever_role_and_database_say",
    ),
    Mutant(
        "app/foldbook/postgres/sessions.py",
        '"synchronous_commit": "on",',
        '"synchronous_commit": "off",',
        "readside/test_durability.py::test_only_rounds_are_committed_asynchronously",
    ),
]

PRODUCT = [*ACCESS, *BROKERS, *TRADING, *MESSAGES, *ENGINE]

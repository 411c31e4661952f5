"""A caller in another language, working from the protos alone.

Needs the packages in requirements.txt and, in STAMPBOOK_BIN, the server's binary. Run: python tests/python/contract_test.py
"""

import concurrent.futures
import hashlib
import json
import pathlib
import tempfile
import time
import unittest

import grpc
from google.protobuf import json_format

import body_hash
import harness
from harness import Server, account, admin, audit, command, common, ledger, purchase, redeem, refusal

APPLIED, REJECTED = common.OUTCOME_APPLIED, common.OUTCOME_REJECTED
CONFLICT, INVALID, ABORTED = common.OUTCOME_CONFLICT, common.OUTCOME_INVALID, common.OUTCOME_ABORTED


def outcomes(receipts):
    return [receipt.outcome for receipt in receipts]


def without_replayed(receipt):
    copy = common.Receipt()
    copy.CopyFrom(receipt)
    copy.replayed = False
    return copy


class WithServer(unittest.TestCase):
    """One server for all tests of a class; each test has a member and keys of its own."""

    config = None

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="stampbook-python-")
        cls.addClassCleanup(folder.cleanup)
        cls.server = Server(pathlib.Path(folder.name) / "data", cls.config)
        cls.addClassCleanup(cls.server.close)
        cls.server.put_program()
        cls.server.fund(1_000_000_000, "fund-1")

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1][-40:]

    def key(self, number):
        return f"{self.name}-{number}"

    def buy(self, number, amount_minor=1234, **fields):
        return purchase(self.key(number), amount_minor, fields.pop("member", self.name), **fields)

    def spend(self, number, points):
        return redeem(self.key(number), points, self.name)

    def balance(self):
        request = account.GetMemberRequest(program="club", member=self.name)
        return self.server.account.GetMember(request).member.balance


class Hashes(unittest.TestCase):
    def test_the_golden_vectors_are_reproduced(self):
        golden = json.loads((harness.FIXTURES / "body_hash.json").read_text())
        self.assertGreaterEqual(len(golden["commands"]), 12)
        cases = [(vector, body_hash.command_body, ledger.Command(), vector["command"]) for vector in golden["commands"]]
        cases += [
            (vector, body_hash.admin_body, harness.message(vector["type"]), vector["request"])
            for vector in golden["admin"]
        ]
        for vector, encode, message, fields in cases:
            with self.subTest(vector["name"]):
                body = encode(json_format.ParseDict(fields, message))
                self.assertEqual(body.hex(), vector["body"])
                self.assertEqual(body_hash.short_hash(body).hex(), vector["hash"])

    def test_every_field_of_every_action_is_in_a_golden_vector(self):
        golden = json.loads((harness.FIXTURES / "body_hash.json").read_text())
        actions = ledger.Command.DESCRIPTOR.oneofs_by_name["action"].fields
        for action in actions:
            sent = [vector["command"][action.name] for vector in golden["commands"] if action.name in vector["command"]]
            covered = {name for fields in sent for name in fields}
            self.assertEqual(covered, {field.name for field in action.message_type.fields}, action.name)


class Posting(WithServer):
    def test_a_purchase_in_the_campaign_earns_twice(self):
        receipt = self.server.post(self.buy(1))
        self.assertEqual((receipt.outcome, receipt.retry, receipt.replayed), (APPLIED, common.RETRY_UNSPECIFIED, False))
        self.assertEqual(
            [(award.source, award.campaign, award.desired, award.awarded) for award in receipt.awards],
            [(common.SOURCE_BASE, "", 123, 123), (common.SOURCE_CAMPAIGN, "double-night", 123, 123)],
        )
        self.assertEqual((receipt.desired, receipt.awarded, receipt.balance.available), (246, 246, 246))
        self.assertTrue(receipt.book_id and receipt.op and receipt.book_time_us)

    def test_the_three_ways_to_post_give_the_same_receipt_for_the_same_command(self):
        first = self.server.post(self.buy(1))
        [batched] = self.server.post_batch([self.buy(1)])
        [streamed] = self.server.post_stream([[self.buy(1)]])
        for again in (batched, streamed):
            self.assertTrue(again.replayed)
            self.assertEqual(without_replayed(again), first)

    def test_an_item_of_a_batch_sees_the_items_before_it(self):
        receipts = self.server.post_batch([self.buy(1), self.spend(2, 246), self.spend(3, 1)])
        self.assertEqual(outcomes(receipts), [APPLIED, APPLIED, REJECTED])
        self.assertEqual([receipt.balance.available for receipt in receipts], [246, 0, 0])
        self.assertEqual([receipt.key for receipt in receipts], [self.key(n) for n in (1, 2, 3)])

    def test_a_stream_answers_in_the_order_sent_and_drains(self):
        messages = [[self.buy(100 * message + item) for item in range(100)] for message in range(30)]
        receipts = self.server.post_stream(messages)
        self.assertEqual([receipt.key for receipt in receipts], [sent.key for items in messages for sent in items])
        self.assertEqual([receipt.balance.available for receipt in receipts], [246 * n for n in range(1, 3001)])

    def test_a_key_sent_many_times_at_once_posts_once(self):
        self.server.post(self.buy(1))
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            receipts = list(pool.map(lambda _: self.server.post(self.spend(2, 100)), range(64)))
        self.assertEqual(sum(receipt.replayed for receipt in receipts), 63)
        self.assertEqual(len({without_replayed(receipt).SerializeToString() for receipt in receipts}), 1)
        self.assertEqual(self.balance().available, 146)

    def test_a_whole_refund_takes_back_what_was_earned_and_leaves_a_debt(self):
        earned = self.server.post(self.buy(1, 1000, reference=self.name))
        self.server.post(self.spend(2, 150))
        refund = command(self.key(3), self.name, refund={"original_op": earned.op, "amount_minor": 1000})
        receipt = self.server.post(refund)
        self.assertEqual((receipt.asked, receipt.taken, receipt.owed), (200, 50, 150))
        self.assertEqual([(part.original, part.taken) for part in receipt.taken_back], [(100, 100), (100, 100)])
        self.assertEqual((receipt.balance.available, receipt.balance.debt), (0, 150))

    def test_an_adjustment_keeps_who_and_why(self):
        given = {"points": 60, "actor": "anna", "reason": "goodwill"}
        receipt = self.server.post(command(self.key(1), self.name, adjust=given))
        self.assertEqual((receipt.awarded, receipt.balance.available), (60, 60))
        request = account.GetEventRequest(program="club", op=receipt.op)
        event = self.server.account.GetEvent(request).event
        self.assertEqual((event.actor, event.actor_reason, event.points), ("anna", "goodwill", 60))


class Outcomes(WithServer):
    """Every way in which a command can fail, with what a caller needs to act on it."""

    def assert_refused(self, refused, code, reason, fields=()):
        self.assertEqual((refused.code, refused.reason), (code, reason), refused.message)
        self.assertEqual(refused.info.domain, "stampbook.v1")
        self.assertEqual(refused.fields, list(fields))

    def test_each_wrong_shape_names_its_field(self):
        long = "x" * 129
        cases = [
            ("FIELD_MISSING", "command", None),
            ("FIELD_MISSING", "command.program", purchase("k", program="")),
            ("FIELD_MISSING", "command.key", purchase("")),
            ("FIELD_TOO_LONG", "command.key", purchase(long)),
            ("FIELD_MISSING", "command.member", purchase("k", member="")),
            ("FIELD_TOO_LONG", "command.member", purchase("k", member="x" * 65)),
            ("PROGRAM_UNKNOWN", "command.program", purchase("k", program="nobody")),
            ("FIELD_TOO_LONG", "command.reference", purchase("k", reference=long)),
            ("FIELD_TOO_LONG", "command.channel", purchase("k", channel=long)),
            ("FIELD_TOO_LONG", "command.metadata", purchase("k", metadata={"a": "x" * 512})),
            ("FIELD_MALFORMED", "command.currency", purchase("k", currency="pound")),
            ("FIELD_OUT_OF_RANGE", "command.earn.amount_minor", purchase("k", 0)),
            ("FIELD_OUT_OF_RANGE", "command.earn.amount_minor", purchase("k", -5)),
            ("FIELD_OUT_OF_RANGE", "command.earn.amount_minor", purchase("k", 10**12 + 1)),
            ("FIELD_MISSING", "command.earn.event_kind", command("k", earn={"amount_minor": 5})),
            ("FIELD_OUT_OF_RANGE", "command.earn.points", command("k", earn={"points": 0})),
            ("FIELD_OUT_OF_RANGE", "command.redeem.points", redeem("k", 0)),
            ("FIELD_MISSING", "command.redeem.purpose", command("k", redeem={"points": 5})),
            ("FIELD_OUT_OF_RANGE", "command.adjust.points", command("k", adjust={"actor": "a", "reason": "r"})),
            ("FIELD_MISSING", "command.adjust.actor", command("k", adjust={"points": 1, "reason": "r"})),
            ("FIELD_MISSING", "command.adjust.reason", command("k", adjust={"points": 1, "actor": "a"})),
        ]
        for reason, field, sent in cases:
            with self.subTest(field=field, reason=reason):
                refused = refusal(self.server.ledger.Post, ledger.PostRequest(command=sent))
                self.assert_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, reason, [field])
        for field, sent in [
            ("command.action", command("k")),
            ("command.earn", command("k", earn={"event_kind": "purchase"})),
            ("command.refund", command("k", refund={"original_key": "k0"})),
        ]:
            with self.subTest(field=field):
                refused = refusal(self.server.ledger.Post, ledger.PostRequest(command=sent))
                self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_MISSING"))
                self.assertTrue(refused.fields and refused.fields[0].startswith(field.removesuffix(".action")))

    def test_a_wrong_shape_leaves_its_key_free(self):
        refusal(self.server.post, self.buy(1, 0))
        self.assertEqual(self.server.post(self.buy(1, 100)).outcome, APPLIED)

    def test_a_wrong_shape_fails_a_batch_before_anything_is_done(self):
        refused = refusal(self.server.post_batch, [self.buy(1), self.buy(2, 0)])
        self.assert_refused(
            refused, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", ["items[1].earn.amount_minor"]
        )
        self.assertFalse(self.server.post(self.buy(1)).replayed)

    def test_a_wrong_shape_in_a_stream_is_that_items_result(self):
        receipts = self.server.post_stream([[self.buy(1), self.buy(2, 0), self.buy(3)]])
        self.assertEqual(outcomes(receipts), [APPLIED, INVALID, APPLIED])
        wrong = receipts[1]
        self.assertEqual(
            (wrong.reason, wrong.field, wrong.key, wrong.op, wrong.retry),
            (common.REASON_FIELD_OUT_OF_RANGE, "earn.amount_minor", self.key(2), 0, common.RETRY_CORRECTED),
        )

    def test_too_many_items_and_too_many_bytes_are_shape(self):
        refused = refusal(self.server.post_batch, [self.buy(n) for n in range(10_001)])
        self.assert_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_ITEMS", ["items"])
        refused = refusal(self.server.post_batch, [])
        self.assert_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_MISSING", ["items"])
        refused = refusal(self.server.post_stream, [[self.buy(n) for n in range(1_001)]])
        self.assert_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_ITEMS", ["items"])
        huge = [self.buy(n, location="x" * 2_000) for n in range(9_000)]
        refused = refusal(self.server.post_batch, huge)
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_TOO_LARGE"))

    def test_a_key_with_another_body_is_a_conflict_that_names_the_event(self):
        first = self.server.post(self.buy(1))
        other = self.buy(1, 9999)
        refused = refusal(self.server.post, other)
        self.assert_refused(refused, grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED")
        self.assertEqual(dict(refused.info.metadata), {"key": self.key(1), "op": str(first.op)})
        for [receipt] in (self.server.post_batch([other]), self.server.post_stream([[other]])):
            self.assertEqual(
                (receipt.outcome, receipt.reason, receipt.key, receipt.op),
                (CONFLICT, common.REASON_KEY_REUSED, self.key(1), first.op),
            )
        self.assertEqual(self.balance().available, 246)

    def test_rejections_are_receipts_and_are_remembered(self):
        self.server.post(self.buy(0))
        cases = [
            (common.REASON_MEMBER_UNKNOWN, redeem(self.key(1), 5, "nobody")),
            (common.REASON_INSUFFICIENT_POINTS, self.spend(2, 10_000)),
            (common.REASON_EVENT_KIND_UNKNOWN, command(self.key(3), earn={"amount_minor": 5, "event_kind": "dance"})),
            (common.REASON_CURRENCY_MISMATCH, self.buy(4, currency="CNY")),
            (common.REASON_ORIGINAL_NOT_FOUND, command(self.key(5), refund={"original_key": "?", "amount_minor": 5})),
        ]
        for reason, sent in cases:
            with self.subTest(common.Reason.Name(reason)):
                first = self.server.post(sent)
                self.assertEqual((first.outcome, first.reason, first.retry), (REJECTED, reason, common.RETRY_NEW_KEY))
                self.assertTrue(first.op)
                again = self.server.post(sent)
                self.assertTrue(again.replayed)
                self.assertEqual(without_replayed(again), first)

    def test_an_atomic_batch_stands_or_falls_together(self):
        receipts = self.server.post_batch([self.buy(1), self.spend(2, 10_000), self.buy(3)], atomic=True)
        self.assertEqual(outcomes(receipts), [ABORTED, REJECTED, ABORTED])
        self.assertEqual(receipts[0].reason, common.REASON_BATCH_ABORTED)
        again = self.server.post_batch([self.buy(1), self.spend(2, 10_000), self.buy(3)], atomic=True)
        self.assertEqual(outcomes(again), [ABORTED, REJECTED, ABORTED])
        self.assertTrue(again[1].replayed)
        receipts = self.server.post_batch([self.buy(1), self.spend(4, 246)], atomic=True)
        self.assertEqual(outcomes(receipts), [APPLIED, APPLIED])
        replayed = self.server.post_batch([self.buy(1), self.spend(4, 246)], atomic=True)
        self.assertEqual([receipt.replayed for receipt in replayed], [True, True])
        mixed = self.server.post_batch([self.buy(1), self.buy(5)], atomic=True)
        self.assertIn(CONFLICT, outcomes(mixed))
        self.assertNotIn(APPLIED, outcomes(mixed))
        self.assertEqual(self.balance().available, 0)

    def test_what_an_atomic_batch_may_not_hold_is_shape(self):
        refused = refusal(self.server.post_batch, [self.buy(1), self.buy(1)], atomic=True)
        self.assert_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "DUPLICATE_KEY_IN_BATCH", ["items[1].key"])

    def test_reads_of_what_is_not_there(self):
        service = self.server.account
        refused = refusal(service.GetMember, account.GetMemberRequest(program="club", member="nobody"))
        self.assert_refused(refused, grpc.StatusCode.NOT_FOUND, "MEMBER_UNKNOWN")
        refused = refusal(service.GetEvent, account.GetEventRequest(program="club", key="no such key"))
        self.assert_refused(refused, grpc.StatusCode.NOT_FOUND, "EVENT_NOT_FOUND")
        refused = refusal(service.GetEvent, account.GetEventRequest(program="club", op=10**9))
        self.assert_refused(refused, grpc.StatusCode.NOT_FOUND, "EVENT_NOT_FOUND")
        refused = refusal(service.GetMember, account.GetMemberRequest(program="nobody", member="m1"))
        self.assert_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "PROGRAM_UNKNOWN", ["program"])


class Reading(WithServer):
    def test_a_statement_is_the_members_events_newest_first_page_by_page(self):
        posted = self.server.post_batch([self.buy(n, reference=f"order-{n % 2}") for n in range(25)] + [self.spend(25, 1)])
        request = account.ListEventsRequest(program="club", member=self.name, page_size=10)
        ops, pages = [], 0
        while True:
            page = self.server.account.ListEvents(request)
            ops += [event.receipt.op for event in page.events]
            pages += 1
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        self.assertEqual(ops, [receipt.op for receipt in reversed(posted)])
        self.assertGreaterEqual(pages, 3)
        filtered = account.ListEventsRequest(program="club", member=self.name, kinds=[account.KIND_REDEEM])
        self.assertEqual(len(self.server.account.ListEvents(filtered).events), 1)
        filtered = account.ListEventsRequest(program="club", member=self.name, reference="order-1")
        self.assertEqual(len(self.server.account.ListEvents(filtered).events), 12)
        filtered = account.ListEventsRequest(program="club", member=self.name, to_us=posted[0].book_time_us)
        self.assertEqual(len(self.server.account.ListEvents(filtered).events), 0)

    def test_an_event_holds_what_was_sent_and_legs_that_sum_to_zero(self):
        metadata = {"till": "3", "a": "1", "é": ""}
        sent = self.buy(1, reference="r", channel="app", partner="p", location="会", metadata=metadata, currency="GBP")
        sent.occurred_at_us = 1_259_653_500_000_000
        receipt = self.server.post(sent)
        for named in ({"op": receipt.op}, {"key": sent.key}):
            event = self.server.account.GetEvent(account.GetEventRequest(program="club", **named)).event
            self.assertEqual(event.receipt, receipt)
            self.assertEqual(event.body_hash, body_hash.short_hash(body_hash.command_body(sent)))
            for field in ("member", "reference", "channel", "partner", "location", "occurred_at_us"):
                self.assertEqual(getattr(event, field), getattr(sent, field))
            self.assertEqual(dict(event.metadata), metadata)
            self.assertEqual((event.kind, event.event_kind, event.amount_minor), (account.KIND_EARN, "purchase", 1234))
            legs = [(leg.account, leg.amount) for leg in event.legs]
            self.assertEqual(sum(amount for _, amount in legs), 0)
            self.assertIn(("issuance", -123), legs)
            self.assertIn(("campaign/double-night", -123), legs)

    def test_members_are_read_together(self):
        self.server.post_batch([self.buy(1), self.buy(2, member=f"{self.name}-b")])
        request = account.BatchGetMembersRequest(program="club", members=[f"{self.name}-b", "nobody", self.name])
        answer = self.server.account.BatchGetMembers(request)
        self.assertEqual([member.id for member in answer.members], [f"{self.name}-b", self.name])
        self.assertEqual([member.balance.available for member in answer.members], [246, 246])
        self.assertEqual(list(answer.unknown), ["nobody"])

    def test_the_trial_balance_sums_to_zero(self):
        self.server.post_batch([self.buy(1), self.spend(2, 100)])
        answer = self.server.account.GetTrialBalance(account.GetTrialBalanceRequest(program="club"))
        [total] = answer.totals
        self.assertEqual(total.debit, total.credit)
        self.assertEqual(sum(row.debit for row in answer.rows), total.debit)
        self.assertEqual(sum(row.credit for row in answer.rows), total.credit)
        self.assertIn("redemption/gift", [row.account for row in answer.rows])

    def test_health_and_reflection_answer(self):
        same = {"request_serializer": bytes, "response_deserializer": bytes}
        check = self.server.channel.unary_unary("/grpc.health.v1.Health/Check", **same)
        self.assertEqual(check(b""), b"\x08\x01")
        info = self.server.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", **same)
        listed = b"".join(info(iter([b"\x3a\x00"])))
        for service in (b"LedgerService", b"AccountService", b"AdminService"):
            self.assertIn(b"stampbook.v1." + service, listed)


class Operating(WithServer):
    def test_a_definition_with_a_fault_names_line_and_field(self):
        wrong = harness.PROGRAM.replace('multiplier = "2"', 'multiplier = "0.5"')
        refused = refusal(self.server.put_program, wrong, expected=1, key=self.key(1))
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.INVALID_ARGUMENT, "DEFINITION_INVALID"))
        line = wrong.split("\n").index('multiplier = "0.5"') + 1
        [field] = refused.fields
        self.assertTrue(field.startswith(f"definition:{line}:"), field)
        self.assertIn("multiplier", field)

    def test_a_stale_version_is_rejected_and_the_same_request_is_a_replay(self):
        first = self.server.put_program()
        self.assertEqual((first.receipt.outcome, first.receipt.replayed, first.version), (APPLIED, True, 1))
        stale = self.server.put_program(expected=7, key=self.key(1))
        self.assertEqual((stale.receipt.outcome, stale.receipt.reason), (REJECTED, common.REASON_VERSION_MISMATCH))
        refused = refusal(self.server.put_program, expected=1)
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED"))

    def test_a_campaign_is_funded_paused_resumed_and_closed(self):
        definition = harness.PROGRAM.replace('"club"', '"other"', 1)
        self.server.put_program(definition, "other", key="p")
        buy = lambda key: self.server.post(purchase(key, 1000, "m", program="other")).awarded
        act = {"program": "other", "campaign": "double-night", "actor": "anna", "reason": "test"}
        service = self.server.admin
        self.assertEqual(buy("k1"), 100)
        funded = self.server.fund(250, "f1", "other")
        self.assertEqual((funded.receipt.outcome, funded.campaign.left), (APPLIED, 250))
        self.assertTrue(self.server.fund(250, "f1", "other").receipt.replayed)
        self.assertEqual(buy("k2"), 200)
        paused = service.PauseCampaign(admin.PauseCampaignRequest(key="a1", **act))
        self.assertEqual(paused.campaign.status, admin.CAMPAIGN_STATUS_PAUSED)
        self.assertEqual(buy("k3"), 100)
        resumed = service.ResumeCampaign(admin.ResumeCampaignRequest(key="a2", **act))
        self.assertEqual(resumed.campaign.status, admin.CAMPAIGN_STATUS_OPEN)
        self.assertEqual([buy("k4"), buy("k5"), buy("k6")], [200, 150, 100])
        closed = service.CloseCampaign(admin.CloseCampaignRequest(key="a3", **act))
        self.assertEqual((closed.campaign.status, closed.campaign.left), (admin.CAMPAIGN_STATUS_CLOSED, 0))
        late = service.FundCampaign(admin.FundCampaignRequest(key="f2", points=5, **act))
        self.assertEqual((late.receipt.outcome, late.receipt.reason), (REJECTED, common.REASON_CAMPAIGN_CLOSED))
        listed = service.ListCampaigns(admin.ListCampaignsRequest(program="other")).campaigns
        self.assertEqual([(campaign.id, campaign.funded, campaign.awarded) for campaign in listed], [("double-night", 250, 250)])

    def test_a_clock_that_has_not_leapt_is_not_confirmed_and_not_driven(self):
        now = time.time_ns() // 1000
        request = admin.ConfirmClockRequest(clock_us=now, key="c1", actor="anna", reason="test")
        receipt = self.server.admin.ConfirmClock(request).receipt
        self.assertEqual((receipt.outcome, receipt.reason), (common.OUTCOME_REJECTED, common.REASON_CLOCK_NOT_LEAPT))
        event = self.server.account.GetEvent(account.GetEventRequest(op=receipt.op)).event
        self.assertEqual(event.body_hash, body_hash.short_hash(body_hash.admin_body(request)))
        refused = refusal(self.server.admin.DriveClock, admin.DriveClockRequest(to_us=now))
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.FAILED_PRECONDITION, "CLOCK_NOT_DRIVEN"))

    def test_programs_are_shown_as_they_were_put(self):
        program = self.server.admin.GetProgram(admin.GetProgramRequest(program="club")).program
        self.assertEqual(program.definition, harness.PROGRAM)
        self.assertEqual((program.currency, program.time_zone), ("GBP", "Europe/London"))
        self.assertTrue(getattr(program, "import"))
        [rule] = program.rules
        rate = rule.points_per_minor
        self.assertEqual(rate.numerator * 10, rate.denominator)
        listed = self.server.admin.ListPrograms(admin.ListProgramsRequest()).programs
        self.assertIn("club", [listed.id for listed in listed])


class Importing(WithServer):
    def opening(self, number, points):
        opening = {"points": points, "actor": "anna", "reason": "moved in"}
        return command(self.key(number), self.name, opening=opening)

    def test_an_opening_is_a_balance_against_an_account_of_its_own(self):
        receipt = self.server.post(self.opening(1, 500))
        self.assertEqual((receipt.outcome, receipt.awarded, receipt.balance.available), (APPLIED, 500, 500))
        receipt = self.server.post(self.opening(2, -700))
        self.assertEqual((receipt.outcome, receipt.owed, receipt.balance.debt), (APPLIED, 700, 700))
        self.assertTrue(self.server.post(self.opening(1, 500)).replayed)
        request = account.GetEventRequest(program="club", op=receipt.op)
        event = self.server.account.GetEvent(request).event
        self.assertEqual((event.kind, event.points, event.actor), (account.KIND_OPENING, -700, "anna"))
        self.assertEqual({leg.account: leg.amount for leg in event.legs}, {"member/debt": -700, "opening": 700})
        rows = self.server.account.GetTrialBalance(account.GetTrialBalanceRequest(program="club")).rows
        [row] = [row for row in rows if row.account == "opening"]
        self.assertEqual((getattr(row, "class"), row.credit), (account.ACCOUNT_CLASS_OPENING, 200))

    def test_an_opening_of_nothing_is_refused_by_field(self):
        refused = refusal(self.server.post, self.opening(1, 0))
        self.assertEqual((refused.code, refused.fields), (grpc.StatusCode.INVALID_ARGUMENT, ["command.opening.points"]))


class Auditing(WithServer):
    def create(self, name, **fields):
        fields = {"key": f"take-{name}", "actor": "anna", "reason": "audit"} | fields
        return self.server.audit.CreateSnapshot(audit.CreateSnapshotRequest(name=name, **fields))

    def ready(self, name):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            snapshot = self.server.audit.GetSnapshot(audit.GetSnapshotRequest(name=name)).snapshot
            if snapshot.state != audit.SNAPSHOT_STATE_PREPARING:
                return snapshot
            time.sleep(0.02)
        raise AssertionError("the snapshot is still being written")

    def test_the_past_is_told_as_it_was(self):
        then = self.server.post(self.buy(1))
        self.server.post(self.spend(2, 100))
        for as_of in ({"as_of_op": then.op}, {"as_of_time_us": then.book_time_us}):
            told = self.server.account.GetMember(account.GetMemberRequest(program="club", member=self.name, **as_of))
            self.assertEqual((told.op, told.member.balance.available, told.member.last_op), (then.op, 246, then.op))
            trial = self.server.account.GetTrialBalance(account.GetTrialBalanceRequest(program="club", **as_of))
            self.assertEqual(trial.op, then.op)
            [total] = trial.totals
            self.assertEqual(total.debit, total.credit)
        request = account.GetMemberRequest(program="club", member=self.name, as_of_op=then.op + 1_000_000)
        refused = refusal(self.server.account.GetMember, request)
        self.assertEqual((refused.code, refused.fields), (grpc.StatusCode.INVALID_ARGUMENT, ["as_of_op"]))

    def test_a_snapshot_is_taken_exported_and_deleted(self):
        self.server.post(self.buy(1))
        receipt = self.create("winter").receipt
        self.assertEqual(receipt.outcome, APPLIED)
        self.assertTrue(self.create("winter").receipt.replayed)
        snapshot = self.ready("winter")
        self.assertEqual((snapshot.state, snapshot.op), (audit.SNAPSHOT_STATE_READY, receipt.op))
        manifest = json.loads(snapshot.manifest)
        self.assertEqual((manifest["op"], manifest["state_hash"]), (receipt.op, snapshot.state_hash))
        request = audit.ExportSnapshotRequest(name="winter", format=audit.EXPORT_FORMAT_JSONL)
        files, last = {}, None
        for last in self.server.audit.ExportSnapshot(request):
            if last.WhichOneof("part") == "chunk":
                held = files.setdefault(last.chunk.file, bytearray())
                self.assertEqual(last.chunk.offset, len(held))
                held += last.chunk.content
        manifest = json.loads(last.manifest)
        for named in manifest["files"]:
            self.assertEqual(hashlib.sha256(files[named["name"]]).hexdigest(), named["sha256"])
        events = b"".join(files[named["name"]] for named in manifest["files"] if named["content"] == "events")
        self.assertEqual([json.loads(line)["op"] for line in events.splitlines()], list(range(1, receipt.op + 1)))
        delete = audit.DeleteSnapshotRequest(name="winter", key="drop", actor="anna", reason="done")
        self.assertEqual(self.server.audit.DeleteSnapshot(delete).snapshot.state, audit.SNAPSHOT_STATE_DELETED)
        refused = refusal(list, self.server.audit.ExportSnapshot(request))
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.NOT_FOUND, "SNAPSHOT_UNKNOWN"))

    def test_a_backup_is_the_book_up_to_an_op(self):
        receipt = self.server.post(self.buy(1))
        files, last = {}, None
        for last in self.server.audit.Backup(audit.BackupRequest()):
            if last.WhichOneof("part") == "chunk":
                files.setdefault(last.chunk.file, bytearray()).extend(last.chunk.content)
        manifest = json.loads(last.manifest)
        self.assertEqual((manifest["book_id"], manifest["op"]), (receipt.book_id, receipt.op))
        for named in manifest["files"]:
            held = files[named["name"]]
            self.assertEqual((hashlib.sha256(held).hexdigest(), len(held)), (named["sha256"], named["length"]))

    def test_what_is_malformed_is_refused_by_field(self):
        refused = refusal(self.create, "Winter")
        self.assertEqual((refused.code, refused.fields), (grpc.StatusCode.INVALID_ARGUMENT, ["name"]))
        export = audit.ExportSnapshotRequest(name="never", format=audit.EXPORT_FORMAT_CSV)
        refused = refusal(list, self.server.audit.ExportSnapshot(export))
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.NOT_FOUND, "SNAPSHOT_UNKNOWN"))


class Overload(WithServer):
    config = "queue_requests_max = 1\nmembers_max = 3\n"

    def test_a_full_queue_sheds_and_says_when_to_come_back(self):
        self.server.post(self.buy("first"))
        batch = [self.buy(n) for n in range(2_000)]

        def attempt(_):
            try:
                return self.server.post_batch(batch)
            except grpc.RpcError as error:
                return harness.Refused(error)

        refusals = []
        for _ in range(20):
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                refusals += [answer for answer in pool.map(attempt, range(16)) if isinstance(answer, harness.Refused)]
            if refusals:
                break
        self.assertTrue(refusals, "nothing was shed")
        for refused in refusals:
            self.assertEqual(refused.code, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn(refused.reason, ("QUEUE_FULL", "QUEUE_TOO_OLD", "BYTES_IN_FLIGHT"))
            wait = refused.retry.retry_delay
            self.assertGreater(wait.seconds * 1_000_000_000 + wait.nanos, 0)
        receipts = self.server.post_batch(batch)
        self.assertEqual(set(outcomes(receipts)), {APPLIED})
        self.assertEqual(self.balance().available, 246 * 2_001)

    def test_members_beyond_the_limit_are_shed_and_their_keys_stay_free(self):
        reached = None
        for number in range(5):
            sent = purchase(self.key(number), member=f"{self.name}-{number}")
            try:
                self.server.post(sent)
            except grpc.RpcError as error:
                reached = harness.Refused(error)
                break
        self.assertIsNotNone(reached, "more members than the limit were taken")
        self.assertEqual((reached.code, reached.reason), (grpc.StatusCode.RESOURCE_EXHAUSTED, "MEMBERS_LIMIT"))


class Restarting(WithServer):
    def test_what_was_acknowledged_is_there_after_a_kill_and_after_a_shutdown(self):
        first = [self.server.post(self.buy(1))]
        first += self.server.post_batch([self.buy(2), self.spend(3, 9_999)])
        first += self.server.post_stream([[self.buy(4)]])
        for end in (self.server.kill, self.server.stop):
            code = end()
            self.assertIn(code, (None, 0))
            self.server.start()
            again = self.server.post_batch([self.buy(1), self.buy(2), self.spend(3, 9_999), self.buy(4)])
            self.assertTrue(all(receipt.replayed for receipt in again))
            self.assertEqual([without_replayed(receipt) for receipt in again], first)
            self.assertEqual(self.balance().available, 3 * 246)

    def test_a_server_that_is_away_says_nothing_of_the_outcome(self):
        self.server.kill()
        channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(channel.close)
        stub = type(self.server.ledger)(channel)
        refused = refusal(stub.Post, ledger.PostRequest(command=self.buy(1)))
        self.assertEqual(refused.code, grpc.StatusCode.UNAVAILABLE)
        self.server.start()
        self.assertEqual(self.server.post(self.buy(1)).outcome, APPLIED)


if __name__ == "__main__":
    unittest.main(verbosity=2)

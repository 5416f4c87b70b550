"""What people see of a campaign."""

from __future__ import annotations

from collections import Counter

from measure.campaign.types import CampaignConfig, Event, LabelSummary, Summary
from tvm_costmodel.campaigns import Meter, ProgressLog, is_complete, summary_lines


def observe(meter: Meter, network: str, *kinds: str, platform: str = "p") -> None:
    for kind in kinds:
        meter.observe(Event(kind=kind, network=network, platform=platform))


def test_a_campaign_in_which_all_goes_well_ends_at_its_total():
    meter = Meter(2, 1, CampaignConfig(rounds=2))
    assert meter.total == 8
    for network in ("a", "b"):
        observe(meter, network, "queued", "built", "round", "round", "kernels", "done")
    assert (meter.completed, meter.total, meter.rounds) == (8, 8, 4)


def test_what_is_skipped_or_fails_is_no_work_left():
    meter = Meter(4, 2, CampaignConfig(rounds=2, kernels=False))
    assert meter.total == 24
    observe(meter, "known", "skipped")
    assert meter.total == 21
    observe(meter, "no network", "unreadable", platform="")
    assert meter.total == 15
    observe(meter, "bad", "built", "failed")
    assert (meter.completed, meter.total) == (1, 13)


def test_a_round_taken_again_is_more_work():
    meter = Meter(1, 1, CampaignConfig(rounds=2, kernels=False))
    observe(meter, "a", "built", "round", "round", "round")
    assert (meter.completed, meter.total) == (4, 4)


def test_work_beyond_what_was_known_moves_the_end():
    meter = Meter(0, 1, CampaignConfig(rounds=2))
    observe(meter, "a", "built", "round", "round", "kernels", "done")
    assert (meter.completed, meter.total) == (4, 4)


def test_rounds_known_before_are_no_work_left_when_a_network_is_done():
    meter = Meter(1, 1, CampaignConfig(rounds=2, kernels=False))
    observe(meter, "a", "built", "round", "done")
    assert (meter.completed, meter.total) == (2, 2)


def test_rate_and_time_left_go_by_the_work_done():
    meter = Meter(2, 1, CampaignConfig(rounds=1, kernels=False))
    assert meter.rounds_per_minute(0.0) == 0.0
    assert meter.left_s(5.0) is None
    observe(meter, "a", "built", "round")
    assert meter.rounds_per_minute(30.0) == 2.0
    assert meter.left_s(30.0) == 30.0


def test_a_budget_ends_a_campaign_sooner():
    meter = Meter(2, 1, CampaignConfig(rounds=1, kernels=False, budget_s=40.0))
    observe(meter, "a", "built", "round")
    assert meter.left_s(30.0) == 10.0
    assert meter.left_s(50.0) == 0.0


def test_without_a_terminal_a_line_a_minute_tells_how_far_it_is():
    meter = Meter(2, 1, CampaignConfig(rounds=1, kernels=False))
    lines: list[str] = []
    seconds = iter([0.0, 59.0, 60.0, 61.0, 125.0])
    log = ProgressLog(meter, lines.append, lambda: next(seconds))
    for network, kind in (("a", "built"), ("a", "round"), ("b", "built"), ("b", "round")):
        event = Event(kind=kind, network=network, platform="p")
        meter.observe(event)
        log.observe(event)
    assert lines == [
        "2 of 4 steps, 1.0 rounds/min, 0:01:00 left: round a",
        "4 of 4 steps, 1.0 rounds/min, 0:00:00 left: round b",
    ]


def test_the_summary_tells_what_went_wrong_by_cause_and_how_good_the_labels_are():
    summary = Summary(
        done=5,
        skipped=2,
        failures=Counter({("build", "SIGSEGV"): 1, ("run", "TimeLimitError"): 2}),
        unreadable=1,
        lost=1,
        rounds=12,
        disturbed=3,
        drifted_blocks=1,
        quarantined={"board": "cannot be reached"},
        labels={
            "x/tvm-relay/llvm/t1/float32": LabelSummary(networks=5, trusted=4, noise=0.0061),
            "x/tvm-relax/llvm/t1/float32": LabelSummary(networks=1, trusted=0, noise=None),
        },
        out_of_time=True,
        duration_s=3723.4,
    )
    assert list(summary_lines(summary)) == [
        "5 measured, 2 known before; 12 rounds in 1:02:03, 3 of them disturbed",
        "1 failed to build: SIGSEGV",
        "2 failed to run: TimeLimitError",
        "1 unreadable",
        "1 lost with a worker, a device or a lease (run again to try again)",
        "blocks measured again, since their anchors drifted: 1",
        "device board is quarantined: cannot be reached",
        "0 of 1 labels trusted on x/tvm-relax/llvm/t1/float32",
        "4 of 5 labels trusted, label noise 0.61 % (median) on x/tvm-relay/llvm/t1/float32",
        "out of budget (run again to go on)",
    ]
    assert not is_complete(summary)


def test_where_many_rounds_were_disturbed_the_summary_says_what_to_do():
    lines = list(summary_lines(Summary(done=3, rounds=9, disturbed=5)))
    assert "many rounds were disturbed; `tvm-costmodel db calibrate` finds" in lines[1]
    assert len(list(summary_lines(Summary(done=3, rounds=9, disturbed=2)))) == 1


def test_being_out_of_budget_is_nothing_wrong():
    assert is_complete(Summary(done=1, out_of_time=True, disturbed=1, drifted_blocks=1))

"""Runs: what they leave, that they resume, what becomes of failures."""

from __future__ import annotations

import dataclasses
import fcntl
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="runs are written as Parquet")

from pyarrow import parquet

from relay_frontend.errors import InputError
from tests.tvm_costmodel.evaluation.examples import Biased, biased, numbers, product
from tvm_costmodel.evaluation.candidates import Candidate, candidate
from tvm_costmodel.evaluation.protocols import InDomain, LeaveOneFamilyOut
from tvm_costmodel.evaluation.rows import Run, RunStore, select
from tvm_costmodel.evaluation.runs import RunEvent, evaluate
from tvm_costmodel.specs import Spec

TWO_FAMILIES = LeaveOneFamilyOut(families=("a", "b"))


def test_every_predictor_meets_every_split_with_every_seed(tmp_path):
    dataset = numbers()
    (first, made), (second, _) = biased("first", 1.1, 1.2), biased("second", 0.9, 0.8)
    runs = evaluate(dataset, TWO_FAMILIES, [first, second], [0, 1], RunStore(tmp_path))
    assert len(runs) == 2 * 2 * 2
    assert len(made) == 4
    families = np.array(dataset.families)
    inputs, targets, validation = made[0].fits[0]
    assert set(inputs) == set(dataset.targets[families != "a"])
    assert inputs == targets
    assert validation is None
    rows = runs[0].predictions
    assert rows.target.tolist() == dataset.targets[families == "a"].tolist()
    assert rows.prediction == pytest.approx(1.1 * rows.target)


def test_validation_inputs_are_watched_and_kept_apart_in_the_rows(tmp_path):
    (one, made), protocol = biased(), InDomain(validation=0.25)
    (run,) = evaluate(numbers(), protocol, [one], [0], RunStore(tmp_path))
    watched, targets = made[0].fits[0][2]
    assert tuple(watched) == tuple(targets)
    parts = run.predictions.part
    assert sorted(run.predictions.target[parts == "validation"]) == sorted(watched)
    assert (parts == "test").sum() == len(protocol.splits(numbers())[0].test)


def test_accuracies_are_learned_from_one_column_and_tested_by_another(tmp_path):
    dataset = numbers(test_targets=np.arange(40) + 101.0)
    one, made = biased()
    (run,) = evaluate(dataset, InDomain(), [one], [0], RunStore(tmp_path))
    assert max(made[0].fits[0][1]) <= 40
    assert run.predictions.target.min() > 100


def test_what_is_there_is_not_done_again(tmp_path):
    store, events = RunStore(tmp_path), []
    one, made = biased("one", 1.1, 1.2)
    evaluate(numbers(), TWO_FAMILIES, [one], [0], store)
    runs = evaluate(numbers(), TWO_FAMILIES, [one], [0, 1], store, events.append)
    assert len(made) == 4
    assert len(runs) == 4
    states = [event.state for event in events if event.state != "fitting"]
    assert states == ["known", "known", "begun", "done", "begun", "done"]
    assert [(e.number, e.total) for e in events if e.state == "done"] == [(3, 4), (4, 4)]
    assert [e.fit.step for e in events if e.fit] == [1, 2, 1, 2]


def test_a_split_is_known_whichever_others_are_tested_beside_it(tmp_path):
    store, events, (one, made) = RunStore(tmp_path), [], biased()
    evaluate(numbers(), LeaveOneFamilyOut(families=("b",)), [one], [0], store)
    evaluate(numbers(), LeaveOneFamilyOut(), [one], [0], store, events.append)
    known = [event.key.split for event in events if event.state == "known"]
    assert known == ["b"]
    assert len(made) == len(LeaveOneFamilyOut().splits(numbers()))


def test_what_another_process_does_is_waited_for_and_not_done_again(tmp_path):
    store, events, (one, made) = RunStore(tmp_path), [], biased()
    (theirs, _) = evaluate(numbers(), TWO_FAMILIES, [biased()[0]], [0], RunStore(tmp_path / "b"))

    def share() -> list[Run]:
        return evaluate(numbers(), TWO_FAMILIES, [one], [0], store, tell)

    def tell(event: RunEvent) -> None:
        events.append((event.state, event.key.split))
        if event.state == "done":
            ours_is_done.set()

    ours_is_done = threading.Event()
    with ThreadPoolExecutor() as pool:
        with RunStore(tmp_path).claim(theirs.key):
            sharing = pool.submit(share)
            assert ours_is_done.wait(60)
            RunStore(tmp_path).write(theirs)
        runs = sharing.result()
    assert [run.key.split for run in runs] == ["a", "b"]
    assert len(made) == 1
    assert [event for event in events if event[0] != "fitting"] == [
        ("begun", "b"),
        ("done", "b"),
        ("known", "a"),
    ]
    assert not list(tmp_path.glob("runs/.*")), "no claim is left behind"


def test_a_run_that_failed_is_still_claimed_by_one_process_at_a_time(tmp_path):
    (run, _) = evaluate(numbers(), TWO_FAMILIES, [biased()[0]], [0], RunStore(tmp_path / "b"))
    store = RunStore(tmp_path)
    with store.claim(run.key) as claimed:
        assert claimed
        waiting = next(tmp_path.glob("runs/.*.lock")).open("w")
    with waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with store.claim(run.key) as claimed:
            assert not claimed, "the one that waited does it"
    with store.claim(run.key) as claimed:
        assert claimed


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": numbers(targets=np.arange(40) + 2.0)},
        {"protocol": LeaveOneFamilyOut(families=("a", "b"), validation=True)},
        {"candidates": [biased("one[width=2]")[0]]},
        {"seeds": [7]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_data_protocols_options_or_seeds_are_other_runs(tmp_path, change):
    known = {
        "dataset": numbers(),
        "protocol": TWO_FAMILIES,
        "candidates": [biased("one")[0]],
        "seeds": [0],
        "store": RunStore(tmp_path),
    }
    evaluate(**known)
    events = []
    evaluate(**{**known, **change}, progress=events.append)
    assert "known" not in {event.state for event in events}


def test_runs_read_back_as_they_were(tmp_path):
    store = RunStore(tmp_path)
    written = evaluate(numbers(), TWO_FAMILIES, [biased("one", 1.5)[0]], [0], store)
    read = store.read_all()
    assert [run.info for run in read] == [run.info for run in written]
    for a, b in zip(read, written, strict=True):
        for name in vars(a.predictions):
            assert getattr(a.predictions, name).tolist() == getattr(b.predictions, name).tolist()
    assert read[0].info.parameters == 1
    assert read[0].info.description["factor"] == 1.5
    assert read[0].info.conditions["versions"]["numpy"] == np.__version__
    assert read[0].info.data_conditions == {"source": "invented"}
    assert select(read, labels=["one"]) == read
    assert select(read, protocol="another") == []


def test_the_folders_are_tables_for_other_programs(tmp_path):
    without_weights, _ = biased("two")
    make = without_weights.make

    def unweighed(seed):
        predictor = make(seed)
        predictor.describe = lambda: {"name": "biased"}
        return predictor

    two = dataclasses.replace(without_weights, make=unweighed)
    evaluate(numbers(), TWO_FAMILIES, [biased("one")[0], two], [0], RunStore(tmp_path))
    predictions = parquet.read_table(tmp_path / "predictions").to_pylist()
    assert len(predictions) == 2 * 20
    assert {row["label"] for row in predictions} == {"one", "two"}
    wanted = {"predictor", "protocol", "split", "seed", "network", "family", "platform", "target"}
    assert wanted <= set(predictions[0])
    runs = parquet.read_table(tmp_path / "runs").to_pylist()
    assert sorted(row["train_size"] for row in runs) == [30] * 4
    assert {row["parameters"] for row in runs} == {1, None}


def test_a_run_that_was_killed_while_writing_is_done_again(tmp_path):
    store = RunStore(tmp_path)
    one, made = biased()
    (run,) = evaluate(numbers(), InDomain(), [one], [0], store)
    (tmp_path / "runs" / f"{run.key.id}.parquet").unlink()
    evaluate(numbers(), InDomain(), [one], [0], store)
    assert len(made) == 2


def test_a_damaged_run_is_named(tmp_path):
    store = RunStore(tmp_path)
    (run,) = evaluate(numbers(), InDomain(), [biased()[0]], [0], store)
    (tmp_path / "predictions" / f"{run.key.id}.parquet").write_bytes(b"rest")
    with pytest.raises(InputError, match=run.key.id):
        store.read_all()


def test_a_predictor_that_fails_leaves_the_others_their_turn(tmp_path):
    def broken(_seed):
        return Biased(answer=lambda _x: float("nan"))

    bad = Candidate(name="bad", label="bad", settings="", seeded=True, make=broken)
    events = []
    runs = evaluate(
        numbers(), InDomain(), [bad, biased("good")[0]], [0], RunStore(tmp_path), events.append
    )
    assert [run.key.label for run in runs] == ["good"]
    (failed,) = [event for event in events if event.state == "failed"]
    assert "0 finite numbers" in str(failed.error)
    assert not RunStore(tmp_path).has(failed.key)


def test_what_draws_nothing_at_random_is_run_once(tmp_path):
    one, made = biased("one", seeded=False)
    assert len(evaluate(numbers(), InDomain(), [one], [3, 4, 5], RunStore(tmp_path))) == 1
    assert len(made) == 1


def test_a_combination_is_made_of_the_runs_of_its_parts(tmp_path):
    store, (one, ones), (two, twos) = RunStore(tmp_path), biased("one", 2, 3), biased("two", 5, 7)
    evaluate(numbers(), TWO_FAMILIES, [one], [0, 1], store)
    runs = evaluate(numbers(), TWO_FAMILIES, [product(one, two)], [0, 1], store)
    assert (len(ones), len(twos)) == (4, 4), "what is there already is not done again"
    for run, factor in zip(runs, [10, 10, 21, 21], strict=True):
        rows = run.predictions
        assert rows.prediction == pytest.approx(factor * rows.target**2)
        assert run.info.description == {"name": "product", "parameters": 2}
    parts = evaluate(numbers(), TWO_FAMILIES, [one, two], [0, 1], store)
    assert (len(ones), len(twos)) == (4, 4), "and parts are there for others"
    assert runs[0].info.fit_s == parts[0].info.fit_s + parts[2].info.fit_s


def test_a_combination_fails_with_a_part_and_keeps_the_others(tmp_path):
    store, (good, _) = RunStore(tmp_path), biased("good")
    bad = Candidate(
        name="bad",
        label="bad",
        settings="",
        seeded=True,
        make=lambda _seed: Biased(answer=lambda _x: float("nan")),
    )
    events = []
    assert not evaluate(numbers(), InDomain(), [product(good, bad)], [0], store, events.append)
    (failed,) = [event for event in events if event.state == "failed"]
    assert failed.key.label == "product"
    assert "0 finite numbers" in str(failed.error)
    assert [run.key.label for run in store.read_all()] == ["good"]


def test_candidates_of_the_registry_take_seed_and_epochs_where_they_know_them():
    flops = candidate(Spec.parse("flops"), "latency", epochs=3)
    assert (flops.label, flops.seeded) == ("flops", False)
    with pytest.raises(InputError, match="unknown predictor 'oracle'"):
        candidate(Spec.parse("oracle"), "latency")
    with pytest.raises(InputError, match="'colour'"):
        candidate(Spec.parse("flops[colour=red]"), "latency")


def test_epochs_become_part_of_the_label():
    pytest.importorskip("torch", reason="needs a predictor made of torch")
    spec = Spec.parse("nar-former-v2[width=16]")
    trained = candidate(spec, "latency", epochs=3)
    assert (trained.label, trained.seeded) == ("nar-former-v2[width=16,epochs=3]", True)
    assert trained.make(5).training.seed == 5
    assert trained.make(5).training.epochs == 3
    named = candidate(Spec.parse("nar-former-v2[epochs=7]"), "latency", epochs=3)
    assert named.make(0).training.epochs == 7
    with pytest.raises(InputError, match="leave out seed="):
        candidate(Spec.parse("nar-former-v2[seed=7]"), "latency")

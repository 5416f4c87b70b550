"""Scores and the paper's tables against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="runs are written as Parquet")

from relay_frontend.errors import InputError
from tests.tvm_costmodel.evaluation.examples import biased, numbers
from tvm_costmodel.cli.evaluating import rows_of
from tvm_costmodel.evaluation.protocols import Fixed, InDomain, LeaveOneFamilyOut
from tvm_costmodel.evaluation.rows import RunStore
from tvm_costmodel.evaluation.runs import evaluate
from tvm_costmodel.evaluation.scores import average, scores
from tvm_costmodel.evaluation.tables import table


@pytest.fixture
def run(tmp_path):
    """Evaluate candidates on the numbers."""

    def run_(candidates, protocol=None, dataset=None, seeds=2):
        store = RunStore(tmp_path)
        return evaluate(
            numbers() if dataset is None else dataset,
            protocol or LeaveOneFamilyOut(),
            candidates,
            range(seeds),
            store,
        )

    return run_


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_scores_are_means_deviations_and_bests_over_seeds(run):
    found = scores(run([biased("one", 1.04, 1.12)[0]]), "family")
    assert list(found) == ["all", "a", "b", "c", "d"]
    score = found["all"]
    assert (score.num_networks, score.num_runs) == (40, 2)
    assert score.mean("mape") == pytest.approx(8.0)
    assert score.deviation("mape") == pytest.approx(np.std([4, 12], ddof=1))
    assert score.best["mape"] == pytest.approx(4.0)
    assert score.mean("acc_10") == pytest.approx(50.0)
    assert score.best["acc_10"] == pytest.approx(100.0)
    assert score.mean("kendall_tau") == pytest.approx(1.0)
    assert score.noise == pytest.approx((2.0, 2.0))


def test_one_run_has_no_deviation(run):
    score = scores(run([biased("one", 1.04)[0]], seeds=1), "family")["a"]
    assert score.deviation("mape") is None


def test_a_seed_that_lacks_a_split_is_left_out(run):
    runs = run([biased("one", 1.04, 1.12)[0]])
    incomplete = [r for r in runs if (r.key.seed, r.key.split) != (1, "c")]
    assert scores(incomplete, "family")["all"].mean("mape") == pytest.approx(4.0)


def test_the_average_counts_each_family_once(run):
    dataset = numbers(families=("a", "b", "b", "b"))
    one, _ = biased("one")
    make = one.make

    def wrong_on_a(seed):
        predictor = make(seed)
        predictor.answer = lambda x: 1.2 * x if x % 4 == 0 else x
        return predictor

    object.__setattr__(one, "make", wrong_on_a)
    found = scores(run([one], dataset=dataset, seeds=1), "family")
    assert found.pop("all").mean("mape") == pytest.approx(5.0)
    assert average(found.values()).mean("mape") == pytest.approx(10.0)


def test_the_best_of_an_average_is_the_mean_of_the_bests(run):
    # Seed 0 is better on families a and b, seed 1 on c and d.
    one, _ = biased("one")
    factors = {0: {"a": 1.02, "b": 1.02, "c": 1.1, "d": 1.1}, 1: dict.fromkeys("abcd", 1.04)}
    dataset = numbers()
    family_of = dict(zip(dataset.inputs, dataset.families, strict=True))
    make = one.make

    def by_family(seed):
        predictor = make(seed)
        predictor.answer = lambda x: x * factors[seed][family_of[x]]
        return predictor

    object.__setattr__(one, "make", by_family)
    found = scores(run([one]), "family")
    found.pop("all")
    whole = average(found.values())
    assert whole.mean("mape") == pytest.approx((2 + 2 + 10 + 10 + 4 * 4) / 8)
    assert whole.best["mape"] == pytest.approx((2 + 2 + 4 + 4) / 4)
    assert whole.deviation("mape") == pytest.approx(np.std([6, 4], ddof=1))


def test_families_out_of_training_make_table_2_with_an_average(run):
    candidates = [biased("one", 1.04, 1.12)[0], biased("two", 1.2, name="other", seeded=False)[0]]
    text = table(run(candidates))
    cells = rows(text)
    assert cells[0] == ["MAPE %, family", "tested", "one", "two", "label noise %"]
    assert cells[2] == ["a", "10", "8.00 ± 5.66 / 4.00", "20.00", "2.00 / 2.00"]
    assert [row[0] for row in cells[2:7]] == ["a", "b", "c", "d", "average"]
    assert cells[6][2:4] == ["8.00 ± 5.66 / 4.00", "20.00"]
    assert cells[7][0] == "Acc(10 %) %, family"
    assert cells[13][2:4] == ["50.00 ± 70.71 / 100.00", "0.00"]
    assert "protocol `leave-one-family-out[validation=False]`" in text
    assert "Data, source: invented." in text


def test_no_average_over_families_that_were_not_all_tested(run):
    candidates = [biased("one", 1.04)[0], biased("two", 1.2, name="other")[0]]
    runs = [r for r in run(candidates, seeds=1) if (r.key.label, r.key.split) != ("two", "c")]
    by_name = {row[0]: row for row in rows(table(runs))[2:7]}
    assert by_name["c"][3] == "-"
    assert by_name["average"][2:4] == ["4.00", "-"]


def test_in_domain_makes_table_1_with_all_networks_first(run):
    text = table(run([biased("one", 1.04)[0]], InDomain(folds=10), seeds=1))
    names = [row[0] for row in rows(text)[2:7]]
    assert names == ["all", "a", "b", "c", "d"]
    assert rows(text)[2][:3] == ["all", "40", "4.00"]


def test_variants_of_one_predictor_make_an_ablation(run):
    candidates = [biased("net[gnn=true]", 1.08)[0], biased("net[gnn=false]", 1.12)[0]]
    cells = rows(table(run(candidates, InDomain(), seeds=1)))
    assert cells[0] == ["row", "predictor", "MAPE %", "Acc(10 %) %", "Acc(5 %) %"]
    assert cells[2] == ["1", "net[gnn=true]", "8.00", "100.00", "0.00"]
    assert cells[3] == [
        "2", "net[gnn=false]", "12.00 (+4.00)", "0.00 (-100.00)", "0.00 (+0.00)",
    ]  # fmt: skip


def test_no_average_of_a_variant_over_families_that_were_not_all_tested(run):
    candidates = [biased("net[width=1]", 1.04)[0], biased("net[width=2]", 1.2)[0]]
    runs = run(candidates, seeds=2)
    lacking = [r for r in runs if (r.key.label, r.key.split) != ("net[width=2]", "c")]
    assert rows(table(runs))[3][2] == "20.00 ± 0.00 / 20.00 (+16.00)"
    assert rows(table(lacking))[2:4] == [
        ["1", "net[width=1]", "4.00 ± 0.00 / 4.00", "100.00 ± 0.00 / 100.00",
         "100.00 ± 0.00 / 100.00"],
        ["2", "net[width=2]", "-", "-", "-"],
    ]  # fmt: skip
    lacking.reverse()  # nothing is compared with a first that has no average
    assert [row[2] for row in rows(table(lacking))[2:4]] == ["-", "4.00 ± 0.00 / 4.00"]


def test_parts_of_the_networks_are_not_compared_with_all(run):
    candidates = [biased("one", 1.04)[0], biased("two", 1.2, name="other")[0]]
    runs = run(candidates, InDomain(parts=2, folds=2), seeds=1)
    lacking = [r for r in runs if (r.key.label, r.key.split) != ("two", "part 2")]
    assert [row[2:4] for row in rows(table(lacking))[2:4]] == [["4.00", "-"]] * 2
    assert {row["predictor"] for row in rows_of(lacking)} == {"one"}
    assert len(rows_of(runs)) == 2 * 5


def test_accuracies_make_table_4_with_a_column_for_each_training_set(run):
    dataset = numbers(task="accuracy", platforms=("",), noise=None)
    candidates = [biased("one", 1.0)[0], biased("two", -1.0)[0]]
    cells = rows(table(run(candidates, Fixed(train=(10, 20), validation=5), dataset, seeds=1)))
    assert cells[0] == ["predictor", "train 10", "train 20"]
    assert cells[2:4] == [["one", "1.000", "1.000"], ["two", "-1.000", "-1.000"]]


def test_several_platforms_are_rows(run):
    dataset = numbers(10, platforms=("p", "q"))
    candidates = [biased("one", 1.1)[0], biased("two", -1.0, name="other")[0]]
    cells = rows(table(run(candidates, Fixed(train=(4,), test="rest"), dataset, seeds=1)))
    assert [row[0] for row in cells[2:5]] == ["p", "q", "average"]
    assert cells[5][0] == "Spearman's rho, platform"
    assert cells[7][2:4] == ["1.000", "-1.000"]


def test_equal_runs_give_an_equal_text(run, tmp_path):
    candidates = [biased("one", 1.04, 1.12)[0], biased("two", 1.2, name="other")[0]]
    runs = run(candidates)
    assert table(runs) == table(RunStore(tmp_path).read_all())


def test_a_table_is_about_one_data_set_and_one_protocol(run):
    one = biased("one")[0]
    with pytest.raises(InputError, match="are of 2"):
        table([*run([one]), *run([one], InDomain())])
    with pytest.raises(InputError, match="0 runs"):
        table([])

from __future__ import annotations

import pytest
import torch

from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.checkpoints.runs.run_checks import (
    Checked,
    checker,
    foreign,
    note_of_averages,
    reason_of_failure,
    repeated,
)
from weightatlas.checkpoints.runs.run_members import Member
from weightatlas.checkpoints.runs.steps import Reading, read_name
from weightatlas.errors import MissingDependencyError, SourceError


def member(name: str, state: dict[str, object] | None = None, told: Reading | None = None) -> Member:
    state = {"fc.weight": torch.zeros(2, 3)} if state is None else state
    return Member(name, (name,), lambda: open_checkpoint(state), is_local=True, told=lambda: told or Reading())


def failing(name: str, error: Exception) -> Member:
    def fail() -> Checkpoint:
        raise error

    return Member(name, (name,), fail, is_local=True)


def test_headers_are_compared_and_shared() -> None:
    check = checker()
    first, second = check(member("a")), check(member("b"))
    assert first.found == frozenset([("fc", "weight", (2, 3))])
    assert first.found is second.found


def test_metadata_come_before_what_lies_beside() -> None:
    check = checker()
    state = {"global_step": 7, "state_dict": {"fc.weight": torch.zeros(2, 3)}}
    assert check(member("a", state, told=Reading(step=9))).told == Reading(step=7)
    assert check(member("b", told=Reading(step=9))).told == Reading(step=9)


def test_any_failure_is_kept_as_an_error() -> None:
    for error in (SourceError("x", "bad", "mend it"), OSError("gone"), ValueError("corrupt")):
        found = checker()(failing("x", error))
        assert found.found is None
        assert isinstance(found.error, SourceError)


def test_a_missing_package_is_no_matter_of_one_checkpoint() -> None:
    need = "x.h5"
    with pytest.raises(MissingDependencyError):
        checker()(failing("x", MissingDependencyError(need, "h5py", "keras")))


def test_what_is_far_away_is_not_opened() -> None:
    far = Member("x", ("x",), lambda: pytest.fail("opened"), is_local=False)
    assert checker()(far).found is None


def test_the_newest_may_still_be_written() -> None:
    error = SourceError("x", "an empty file", "copy it again")
    assert reason_of_failure(error, is_newest=True) == "cannot be opened (an empty file): still being written?"
    assert reason_of_failure(error, is_newest=False) == "cannot be opened (an empty file)"


def checked_all(*states: dict[str, object]) -> list[Checked]:
    check = checker()
    return [check(member(f"n{place}", state)) for place, state in enumerate(states)]


def layers(count: int, width: int = 3) -> dict[str, object]:
    return {f"fc{place}.weight": torch.zeros(2, width) for place in range(count)}


def test_another_network_is_foreign_and_a_buffer_more_is_not() -> None:
    moments: dict[str, object] = {
        f"{place}.{name}": torch.zeros(2) for place in range(3) for name in ("exp_avg", "exp_avg_sq")
    }
    checked = checked_all(layers(20), layers(20), layers(3), layers(20, 5), layers(21), moments)
    reasons, notes = foreign("run", checked)
    assert reasons == {
        2: "another network than the others: without fc10.weight and 16 more",
        3: "another network than the others: fc0.weight is 2×5, not 2×3 and 19 more shapes differ",
        5: "an optimizer's state alone, no weights",
    }
    assert notes == ["n4 differs from the others: with fc20.weight besides"]


def test_a_run_of_all_different_networks_is_none() -> None:
    with pytest.raises(SourceError, match=r"2 checkpoints are of different networks \(n1 beside n0: without fc1"):
        foreign("run", checked_all(layers(2), layers(1)))


def series(*names: str, count: int) -> list[Checked]:
    check = checker()
    return [check(member(name, layers(count))) for name in names]


def test_two_networks_with_equally_many_checkpoints_are_no_run() -> None:
    checked = [*series("D_1.pth", "D_2.pth", count=1), *series("G_1.pth", "G_2.pth", count=3)]
    with pytest.raises(SourceError) as caught:
        foreign("run", checked)
    assert "2 checkpoints of each of 2 networks, such as D_1.pth and G_1.pth (with fc1.weight" in str(caught.value)
    assert caught.value.remedy == "choose one: pattern='D_{step}.pth' or pattern='G_{step}.pth'"
    assert foreign("run", checked[1:])[0].keys() == {0}


def test_networks_that_names_do_not_tell_apart_are_left_to_the_user() -> None:
    checked = [*series("n_1.pth", "n_2.pth", count=1), *series("n_3.pth", "n_4.pth", count=3)]
    with pytest.raises(SourceError, match="give those of one run as a list, or a pattern"):
        foreign("run", checked)


def test_plain_weights_come_before_averages_of_another_form() -> None:
    checked = [*series("ema_1.pth", "ema_2.pth", count=3), *series("model_1.pth", "model_2.pth", count=1)]
    assert foreign("run", checked)[0].keys() == {0, 1}


def test_averages_among_plain_weights_are_noted() -> None:
    checked = series("model_1.pth", "ema_2.pth", "model_3.pth", count=1)
    assert note_of_averages(checked) == "1 of 3 checkpoints is an average by name, such as ema_2.pth"
    assert note_of_averages(checked[1:2]) is None
    assert note_of_averages(checked[:1]) is None


@pytest.mark.parametrize(
    ("kept", "other"),
    [
        ("epoch=1-step=5.ckpt", "epoch=1-step=5-v1.ckpt"),
        ("epoch=1-step=5-v1.ckpt", "epoch=1-step=5-v2.ckpt"),
        ("step5.pt", "last.pt"),
        ("step5.pt", "step5_best.pt"),
        ("step5.safetensors", "step5.pt"),
        ("step-5.pt", "step-5-ema.pt"),
        ("model_step5.pt", "ema_step5.pt"),
        ("model_step5.pt", "swa_step5.safetensors"),
        ("model_step5.pt", "avg-step5.pt"),
        ("ema_step5.pt", "last.pt"),
        ("model_step5.pt", "schema_step5.pt"),
        ("ckpt5.pt", "step5.pt"),
    ],
)
def test_one_of_two_of_a_step_is_kept(kept: str, other: str) -> None:
    for names in ((kept, other), (other, kept)):
        checked = [Checked(member(name)) for name in names]
        again = repeated(checked, [read_name(name) for name in names], [5, 5], "step")
        assert again == {names.index(other): f"step 5 again: {kept} is kept"}

from __future__ import annotations

import json

import pytest

from weightatlas.degeneracy.drawing.powers import TICKS, figure, powers_axis


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1e-9, 1, "10⁻⁹"),
        (1e-9, 4, "10⁻⁹"),
        (2.4999e-14, 1, "2\xa0×\xa010⁻¹⁴"),
        (1.25e-5, 3, "1.25\xa0×\xa010⁻⁵"),
        (0.001, 4, "0.001"),
        (9.9996e-4, 4, "0.001"),
        (262.9431, 4, "262.9"),
        (123456.0, 4, "123,500"),
        (999999.0, 4, "10⁶"),
        (2.5e7, 4, "2.5\xa0×\xa010⁷"),
        (0.0, 1, "0"),
        (float("nan"), 1, "nan"),
        (float("inf"), 1, "inf"),
    ],
)
def test_a_figure_is_written_as_by_hand(value: float, digits: int, text: str) -> None:
    assert figure(value, digits) == text


@pytest.mark.parametrize("low", [0.3, 0.1, 0.004, 1e-9, 3.3e-10, 1e-16, 1e-300])
def test_ticks_are_powers_of_ten_on_the_axis_and_each_has_its_text(low: float) -> None:
    axis = powers_axis(low).to_dict()
    ticks = axis["values"]
    assert ticks[0] == 1
    assert len(ticks) <= TICKS
    assert all(tick >= low for tick in ticks)
    texts = json.loads(axis["labelExpr"].partition("]")[0] + "]")
    exponents = [round(float(f"{tick:e}".partition("e")[2])) for tick in ticks]
    written = [texts[-exponent] for exponent in exponents]
    raised = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    assert written[0] == "1"
    assert [int(text.removeprefix("10").translate(raised)) for text in written[1:]] == exponents[1:]


def test_an_axis_of_sixteen_decades_has_every_second_one() -> None:
    axis = powers_axis(1e-16).to_dict()
    assert axis["values"] == [1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14, 1e-16]
    assert axis["labelExpr"].endswith("[-round(log(datum.value) / LN10)]")

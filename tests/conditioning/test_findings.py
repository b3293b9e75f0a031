from __future__ import annotations

from dataclasses import replace

from tests.conditioning.example_surveys import channels_only, exploded, healthy, layered, over_a_run, small, unmeasured
from weightatlas.conditioning.findings import (
    conditioning_findings,
    course_title,
    positive_title,
    terms_title,
    walks_title,
)


def test_findings_are_in_the_order_of_their_weight() -> None:
    found = conditioning_findings(small())
    assert [finding.plate for finding in found] == ["positive", "plane", "terms", "walks"]
    assert [finding.importance for finding in found] == sorted((one.importance for one in found), reverse=True)


def test_dead_channels_are_counted_and_their_layers_named() -> None:
    dead = sum(round(one.dead * one.channels) for one in small().last.points)
    title = positive_title(small().last)
    assert dead >= 3
    assert " of 18 dead and " in title
    assert "norm1" in title
    evidence = conditioning_findings(small())[0].evidence
    assert "16 examples, in evaluation mode" in evidence[0]
    assert evidence[1].startswith("0 dead beyond doubt")  # 16 examples cannot show it


def test_a_network_without_dead_channels_says_so() -> None:
    assert positive_title(healthy().last) == "None of 18 channels before a nonlinearity is dead or nearly dead"


def test_nearly_dead_channels_alone() -> None:
    last = small().last
    near = replace(last.points[0], dead=0.0, near_dead=1 / 6)
    channels = last.channels
    assert channels is not None
    title = positive_title(replace(last, channels=replace(channels, points=(near,))))
    assert title == "One channel of 6 nearly dead and none dead, in norm1"


def test_with_many_layers_only_the_worst_are_named() -> None:
    channels = layered(100).last.channels
    assert channels is not None
    worse = tuple(replace(one, dead=0.0, near_dead=0.5) for one in channels.points)
    title = positive_title(replace(layered(100).last, channels=replace(channels, points=worse)))
    assert title == "100 channels of 200 nearly dead and none dead, the most in 1, 4 and 7"


def test_what_standardising_takes_is_said_as_it_is() -> None:
    last = healthy().last
    found = last.smoothness
    assert found is not None
    assert "would take" in terms_title(last)
    done = tuple(replace(one, standardized=True) for one in found.terms)
    assert "weights takes" in terms_title(replace(last, smoothness=replace(found, terms=done)))
    mixed = (done[0], *found.terms[1:])
    assert "takes or would take" in terms_title(replace(last, smoothness=replace(found, terms=mixed)))


def test_walks_are_compared_where_they_are_finite() -> None:
    found, lost = healthy().last.smoothness, exploded().last.smoothness
    assert found is not None
    assert lost is not None
    assert walks_title(found).startswith("Against its gradient the loss bends ")
    assert walks_title(lost) == "The loss around the weights"
    assert walks_title(replace(found, random=())) == "The loss around the weights"


def test_an_eigenvalue_that_did_not_converge_is_a_lower_bound() -> None:
    found = small().last.smoothness
    assert found is not None
    assert found.hessian is not None
    unsure = replace(found, hessian=replace(found.hessian, converged=False))
    last = replace(small().last, smoothness=unsure)
    evidence = conditioning_findings(replace(small(), snapshots=(last,)))[-1].evidence
    assert evidence[-1].endswith("not converged: a lower bound")


def test_the_course_is_of_what_is_known() -> None:
    assert course_title(over_a_run()).startswith("Over the run the gradient's rate of change ")
    channels = tuple(replace(one, smoothness=None) for one in over_a_run().snapshots)
    assert course_title(replace(over_a_run(), snapshots=channels)).startswith("Over the run nearly dead channels go ")
    smooth = tuple(replace(one, channels=None) for one in exploded().snapshots)
    assert course_title(replace(exploded(), snapshots=smooth)) == "The course of the run"


def test_what_is_unknown_is_no_finding() -> None:
    assert {finding.plate for finding in conditioning_findings(channels_only())} == {"positive", "plane"}
    (finding,) = conditioning_findings(unmeasured())
    assert finding.statement == "The network's conditioning could not be measured."
    assert finding.evidence == ("it failed",)

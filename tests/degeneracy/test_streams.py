from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.degeneracy.wired_networks import NETWORKS, change, made, parameters_of
from weightatlas.degeneracy.counts import Counts, counts
from weightatlas.degeneracy.streams import Changes, Moving, stream_changes, streams
from weightatlas.degeneracy.wiring.constants import Constants
from weightatlas.nn.modular_addition import ModularAdditionTransformer

if TYPE_CHECKING:
    from collections.abc import Callable

FREE = 1e-11


def dense(model: nn.Module, changes: Changes) -> dict[str, torch.Tensor]:
    parameters = parameters_of(model)
    found = {}
    for name, several in changes.items():
        found[name] = torch.zeros_like(parameters[name]).flatten()
        for numbers, values in several:
            found[name].index_add_(0, numbers, values)
        found[name] = found[name].reshape(parameters[name].shape)
    return found


def directions_of(model: nn.Module, inputs: torch.Tensor) -> tuple[dict[str, int], list[dict[str, torch.Tensor]]]:
    """How many there are of each kind, and all, each checked."""
    found = streams(model, inputs[:2])
    moving = Moving(parameters_of(model), dict(model.named_buffers()), found)
    several: list[tuple[str, Changes]] = [
        (stream.kind, one) for stream in found.streams for one in stream_changes(moving, stream)
    ]
    assert len(several) <= sum(stream.directions for stream in found.streams)
    norms = found.wiring.norms
    several += [("norm shift" if one.keys() & norms else "shift", one) for _, one in Constants(moving).changes()]
    directions = [dense(model, one) for _, one in several]
    assert max((change(model, inputs, one) for one in directions), default=0) < FREE
    kinds = [kind for kind, _ in several]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}, directions


def rank_of(model: nn.Module, directions: list[dict[str, torch.Tensor]]) -> int:
    parameters = parameters_of(model)
    rows = [
        torch.cat([one.get(name, torch.zeros_like(value)).flatten() for name, value in parameters.items()])
        for one in directions
    ]
    return int(torch.linalg.matrix_rank(torch.stack(rows)))


def alive(model: nn.Module, seed: int = 0) -> nn.Module:
    """In float64, with norms that have statistics, scales and shifts of their own, and biases that are not 0."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5) if name.endswith("weight") else nn.init.normal_(parameter)
    return model.double().eval()


def counted(model: nn.Module, inputs: torch.Tensor) -> Counts:
    found = counts(model, [(part, torch.zeros(len(part))) for part in torch.split(inputs, 400)], curve=False)
    assert found.largest_change < FREE
    assert not found.data_limited
    return found


class Residual(nn.Module):
    """A perceptron with a residual stream, to which a parameter is added."""

    def __init__(self, *, read_by_relu: bool = False, gives_stream: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.first, self.offset = nn.Linear(5, 4, bias=bias), nn.Parameter(torch.randn(4))
        self.up, self.down = nn.Linear(4, 6, bias=bias), nn.Linear(6, 4, bias=bias)
        self.last = nn.Linear(4, 7, bias=bias)
        self.read_by_relu, self.gives_stream = read_by_relu, gives_stream

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        stream = self.first(inputs) + self.offset
        stream = stream + self.down(torch.tanh(self.up(stream)))
        answer: torch.Tensor = self.last(stream)
        if self.read_by_relu:
            answer = answer + stream.relu().sum(1, keepdim=True)
        return torch.cat([answer, stream], 1) if self.gives_stream else answer


class Block(nn.Module):
    """What reads a stream is normed, what writes it is scaled (LayerScale), and an RMS norm is written out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.up, self.down = nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 6), nn.Linear(6, 4)
        self.scale, self.rms, self.last = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4)), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        stream = self.first(inputs)
        stream = stream + self.down(torch.tanh(self.up(self.norm(stream)))) * self.scale
        stream = stream * (stream.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
        return self.last(self.rms * stream)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Embeddings of symbols and places beside each other, with a symbol of the network's own before them."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.first = nn.Embedding(6, 4), nn.Parameter(torch.randn(1, 1, 4))
        self.places, self.last = nn.Parameter(torch.randn(1, 4, 4)), nn.Linear(4, 3)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        own = torch.cat([self.first.expand(len(symbols), -1, -1), self.tokens(symbols)], 1) + self.places
        return torch.tanh(self.last(own)).flatten(1)


def test_layers_in_a_row_have_the_square_of_the_width_between() -> None:
    model = alive(nn.Sequential(nn.Linear(5, 3), nn.Dropout(), nn.Linear(3, 4)))
    inputs = torch.randn(60, 5, dtype=torch.float64)
    kinds, directions = directions_of(model, inputs)
    assert kinds == {"linear": 9, "shift": 3}
    assert rank_of(model, directions) == 12
    found = counted(model, inputs)
    assert (found.linear, found.norms) == (12, None)
    assert found.exact == found.union == 12, "5 * 3 + 3 + 3 * 4 + 4 less the matrices 5 -> 4 of rank 3, and their bias"
    assert found.exact == found.parameters - (3 * (5 + 4 - 3) + 4)


def test_a_wide_layer_between_has_more_in_its_rank() -> None:
    """The pairs of matrices (4 x 6, 6 x 3) along which the product stays: all less the 3 x 4 products."""
    model = alive(nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False)))
    found = counted(model, torch.randn(50, 4, dtype=torch.float64))
    assert found.linear == 36 - (6 - 4) * (6 - 3)
    assert found.exact == found.union == 24 + 18 - 12


def test_a_residual_stream_without_norms() -> None:
    model, inputs = alive(Residual()), torch.randn(200, 5, dtype=torch.float64)
    kinds, directions = directions_of(model, inputs)
    assert kinds == {"linear": 16, "shift": 4 + 4 + 4}, "the offset and both biases, each taken back by what is behind"
    assert rank_of(model, directions) == 28
    found = counted(model, inputs)
    assert found.linear == found.union == found.exact == 28


def test_layers_that_are_called_twice_move_once() -> None:
    class Again(Residual):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            stream = self.first(inputs) + self.offset
            for _ in range(2):
                stream = stream + self.down(torch.tanh(self.up(stream)))
            return self.last(stream)  # type: ignore[no-any-return]

    model, inputs = alive(Again()), torch.randn(20, 5, dtype=torch.float64)
    kinds, directions = directions_of(model, inputs)
    assert kinds == {"linear": 16, "shift": 4 + 4}, "what is written twice, one reading of the two has once"
    assert rank_of(model, directions) == 24


def test_a_value_times_itself_is_no_factor() -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            hidden = self.first(inputs)
            return self.last(hidden * hidden)  # type: ignore[no-any-return]

    assert directions_of(alive(Square()), torch.randn(6, 4, dtype=torch.float64))[0] == {}


class Twofold(nn.Module):
    """Two layers, each of which another one reads; in some ways these are one, or share what they add."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.second = nn.Linear(6, 4), nn.Linear(6, 4)
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first, second = self.first(inputs), torch.tanh(self.second(inputs))
        if self.way == "one reader":
            return self.left(first) + self.left(second)  # type: ignore[no-any-return]
        if self.way == "one bias":
            answer: torch.Tensor = self.left(first) + functional.linear(second, self.right.weight, self.left.bias)
            return answer
        if self.way == "bias as a factor":
            return self.left(first) * self.left.bias + self.right(second)  # type: ignore[no-any-return]
        if self.way == "held back":
            return self.left(first.detach()) + self.right(second)  # type: ignore[no-any-return]
        if self.way == "beside integers":
            first = torch.cat([first[:, :2], torch.tensor([[2, 3]]).expand(len(first), 2)], 1)
        return self.left(first) + self.right(second)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("way", "kinds"),
    [
        ("plain", {"linear": 16, "shift": 4 + 3}),  # of the first layer, and of the two readers' biases
        ("one reader", {}),
        ("one bias", {"linear": 16}),
        ("bias as a factor", {"linear": 16}),
        ("held back", {"shift": 3}),
        ("beside integers", {"linear": 2 * 2, "shift": 3}),
    ],
)
def test_constants_are_taken_back_only_by_what_takes_nothing_else(way: str, kinds: dict[str, int]) -> None:
    model, inputs = alive(Twofold(way)), torch.randn(20, 6, dtype=torch.float64)
    assert directions_of(model, inputs)[0] == kinds


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_are_wired_in_every_way(name: str) -> None:
    model, inputs = made(name)
    _, directions = directions_of(model, inputs)
    assert not directions or rank_of(model, directions) == len(directions)


def test_a_direction_is_free_only_with_all_its_parts() -> None:
    model, inputs = alive(Residual()), torch.randn(20, 5, dtype=torch.float64)
    for direction in directions_of(model, inputs)[1]:
        for part in direction:
            if direction[part].abs().max() > 0:
                rest = {key: value for key, value in direction.items() if key != part}
                assert change(model, inputs, rest) > 1e-7


REFUSED: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: Residual(read_by_relu=True), "relu"),
    (lambda: Residual(gives_stream=True), "output of the network"),
]


@pytest.mark.parametrize(("factory", "words"), REFUSED)
def test_a_stream_that_is_not_only_read_by_layers_is_refused(factory: Callable[[], nn.Module], words: str) -> None:
    model, inputs = alive(factory()), torch.randn(20, 5, dtype=torch.float64)
    assert "linear" not in directions_of(model, inputs)[0]
    skipped = [str(one.skipped) for one in streams(model, inputs[:2]).streams if one.kind == "linear"]
    assert any(words in one for one in skipped)


def test_modular_addition() -> None:
    p, width = 13, 4
    torch.manual_seed(0)
    model = ModularAdditionTransformer(p=p, width=width, heads=1, head_width=2, hidden=6)
    symbols = torch.tensor([[one, other, p] for one in range(p) for other in range(p)])
    assert len(symbols) * p > sum(one.numel() for one in model.parameters())
    kinds, directions = directions_of(alive(model), symbols[:20])
    assert kinds == {"linear": width**2, "shift": width}, "symbols take from places what is added to all of them"
    assert rank_of(model, directions) == width**2 + width
    found = counted(model, symbols)
    assert found.linear == width**2 + width
    assert found.exact is not None
    assert found.linear < found.union <= found.exact


def test_parameters_that_are_put_beside_others() -> None:
    model, symbols = alive(Tokens()), torch.randint(0, 6, (40, 3))
    kinds, directions = directions_of(model, symbols)
    assert kinds == {"linear": 16, "shift": 4}
    assert rank_of(model, directions) == 20


def test_groups_and_depths_leave_blocks() -> None:
    model = alive(
        nn.Sequential(
            *(nn.Conv2d(2, 6, 1), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1, groups=2)),
            *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
        )
    )
    inputs = torch.randn(6, 2, 6, 6, dtype=torch.float64)
    kinds, directions = directions_of(model, inputs)
    assert kinds["linear"] == 6 + 6 + 2 * 2**2, "depthwise on either side of six, and two groups of two"
    widths = sorted(one.width for one in streams(model, inputs[:2]).streams if one.skipped is None)
    assert widths == [1] * 12 + [2] * 2
    assert kinds["shift"] == 6 + 6, "the average is followed with care: a bias behind it is not known to take it back"
    assert rank_of(model, directions) == len(directions)


def test_padding_stops_constants_alone() -> None:
    inputs = torch.randn(6, 2, 6, 6, dtype=torch.float64)
    for padding, shifts in ((0, 4), (1, 0)):
        model = alive(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3, padding=padding)))
        kinds, _ = directions_of(model, inputs)
        assert (kinds["linear"], kinds.get("shift", 0)) == (16, shifts)


def test_a_batch_norm_and_the_layer_before_it() -> None:
    model = alive(
        nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh()),
            *(nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5)),
        )
    )
    inputs = torch.randn(300, 2, 4, 4, dtype=torch.float64)
    kinds, directions = directions_of(model, inputs[:20])
    assert kinds == {"norm": 4 + 3, "norm shift": 4}
    assert rank_of(model, directions) == 11
    found = counted(model, inputs)
    assert found.norms == found.union == found.exact == 11


def test_rescalings_of_rectifiers_are_others() -> None:
    """Each hidden unit: scaled before and behind its norm, and its bias against the norm's shift."""
    model = alive(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4)))
    found = counted(model, 30 * torch.randn(900, 5, dtype=torch.float64))
    assert (found.rescalings, found.norms) == (6, 12)
    assert found.exact == found.union == 18


def test_a_norm_that_only_layers_read() -> None:
    model = alive(
        nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    )
    inputs = torch.randn(300, 5, dtype=torch.float64)
    kinds, directions = directions_of(model, inputs)
    assert kinds == {"norm": 5, "norm shift": 5}
    assert rank_of(model, directions) == 10
    found = counted(model, inputs)
    assert found.norms == 10
    assert found.gap == 0


NORMED: list[tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, int]]] = [
    (lambda: nn.Sequential(nn.LayerNorm(4, bias=False), nn.Linear(4, 3)), (4,), {"norm": 4}),
    (lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3, bias=False)), (4,), {"norm": 4}),
    (lambda: nn.Sequential(nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 3)), (4,), {}),
    (lambda: nn.Sequential(nn.RMSNorm(4), nn.Linear(4, 3)), (4,), {"norm": 4}),
    (lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 3)), (4, 5, 5), {"norm": 4, "norm shift": 4}),
    (lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 3, padding=1)), (4, 5, 5), {"norm": 4}),
    (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False)), (4,), {}),
    (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), (4,), {"norm": 4, "norm shift": 4}),
    (lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)), (4,), {"norm": 3}),
]


@pytest.mark.parametrize(("factory", "shape", "kinds"), NORMED)
def test_norms_of_every_kind(factory: Callable[[], nn.Module], shape: tuple[int, ...], kinds: dict[str, int]) -> None:
    model = alive(nn.Sequential(factory(), nn.Tanh()))
    found, directions = directions_of(model, torch.randn(6, *shape, dtype=torch.float64))
    assert found == kinds
    assert not directions or rank_of(model, directions) == len(directions)


def test_scales_of_layers_and_of_norms_that_are_written_out() -> None:
    kinds, directions = directions_of(model := alive(Block()), torch.randn(20, 5, dtype=torch.float64))
    assert kinds == {"norm": 4 + 4 + 4, "norm shift": 4}, "of the norm alone: what takes the stream itself is no layer"
    assert rank_of(model, directions) == len(directions)


def test_scales_that_are_used_twice_are_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.norm(self.first(inputs)))) * self.norm.weight.sum()  # type: ignore[no-any-return]

    model, inputs = alive(Twice()), torch.randn(6, 4, dtype=torch.float64)
    found = streams(model, inputs)
    assert [one.skipped for one in found.streams] == ["norm.weight is used in several ways"]
    assert directions_of(model, inputs)[0] == {}


def test_weights_that_are_tied_are_refused() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(6, 4)

        def forward(self, symbols: torch.Tensor) -> torch.Tensor:
            return functional.linear(self.table(symbols), self.table.weight)

    assert directions_of(alive(Tied()), torch.randint(0, 6, (8,)))[0] == {}


def test_parameters_that_are_held_do_not_move() -> None:
    model, inputs = alive(Residual()), torch.randn(6, 5, dtype=torch.float64)
    found = streams(model, inputs)
    parameters = {name: one for name, one in parameters_of(model).items() if name != "offset"}
    moving = Moving(parameters, {}, found)
    assert not [one for stream in found.streams for one in stream_changes(moving, stream)]
    assert len(list(Constants(moving).changes())) == 8

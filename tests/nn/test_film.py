from __future__ import annotations

import pytest

from tests.nn.maps import random_maps, working_head


def test_scale_and_shift_are_linear_in_the_position() -> None:
    head = working_head("spatial-film", 2, 3, 5)
    maps = random_maps(2, 2, 3, 5)
    weight, bias = head.state_dict()["film.weight"], head.state_dict()["film.bias"]
    answer = head(maps).detach()
    for image in range(2):
        for channel in range(2):
            total = 0.0
            for row in range(3):
                for column in range(5):
                    place = (row - 1, column / 2 - 1)
                    scale = 1 + float(bias[channel] + weight[channel, 0] * place[0] + weight[channel, 1] * place[1])
                    shift = float(
                        bias[2 + channel] + weight[2 + channel, 0] * place[0] + weight[2 + channel, 1] * place[1]
                    )
                    total += max(0.0, scale * float(maps[image, channel, row, column]) + shift)
            assert float(answer[image, channel]) == pytest.approx(total / 15)

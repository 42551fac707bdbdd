"""The arithmetic of measurements."""

import json

import pytest

from bench.figures import Result, json_lines, middle, percentile, rounded, scaled, table


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([7.0], 0.95, 7.0), ([1.0, 3.0], 0.5, 2.0), ([3.0, 1.0, 2.0], 1.0, 3.0), ([1.0, 2.0, 3.0, 4.0, 5.0], 0.25, 2.0)],
)
def test_a_percentile_lies_between_its_neighbours(values, share, expected):
    assert percentile(values, share) == expected


def test_nothing_has_no_percentile_and_no_median():
    with pytest.raises(ValueError, match="no percentile"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="no median"):
        middle([])


@pytest.mark.parametrize(("value", "told"), [(0.034567, 0.0346), (12.345, 12.3), (123456.7, 123457.0), (0.0, 0.0)])
def test_a_figure_has_three_digits_that_mean_something(value, told):
    assert rounded(value) == told


@pytest.mark.parametrize(("count", "scale", "size"), [(200, 1, 200), (200, 0.1, 20), (50, 0.001, 1)])
def test_a_workload_never_shrinks_to_nothing(count, scale, size):
    assert scaled(count, scale) == size


def test_programs_read_one_object_per_line_and_people_a_table():
    results = [Result("W1", "ten steps", {"steps_per_s": 3.5}, (("steps per second", "3.5"), ("ratio", "0.1")))]
    results.append(Result("W2", "could not be measured", {"error": "no broker"}, (("because", "no broker"),)))
    assert [json.loads(line) for line in json_lines(results).splitlines()] == [
        {"workload": "W1", "steps_per_s": 3.5},
        {"workload": "W2", "error": "no broker"},
    ]
    assert table(results) == (
        "W1  ten steps\n  steps per second  3.5\n  ratio             0.1\n\n"
        "W2  could not be measured\n  because  no broker"
    )
    assert [result.failed for result in results] == [False, True]

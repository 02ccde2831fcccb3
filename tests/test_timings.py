"""Latencies of calls as milliseconds of an example."""

import pandas as pd
import pytest

from lib import measure


def test_milliseconds_are_of_an_example_and_ratios_of_a_call():
    latencies = pd.DataFrame({"variant": ["a", "b"], "latency_s": [0.64, 0.32],
                              "latency_low": [0.6, 0.3], "latency_high": [0.7, 0.4],
                              "speedup": [1.0, 2.0], "speedup_low": [1.0, 1.8],
                              "speedup_high": [1.0, 2.2], "windows": [30, 30]})
    table = measure.timings(latencies, batch=64)
    assert table.ms.tolist() == pytest.approx([10, 5])
    assert table.ms_low.tolist() == pytest.approx([9.375, 4.6875])
    assert table.speedup.tolist() == [1, 2] and table.windows.tolist() == [30, 30]
    assert measure.timings(latencies).ms_high.tolist() == pytest.approx([700, 400])

"""Shared plots: marks where the table says, names in words, controls left out."""

import numpy as np
import pandas as pd
import pytest

from lib.base import titles
from lib.page import plots, style


@pytest.fixture
def axis():
    figure, (axis,) = style.panels(1)
    yield axis
    style.plt.close(figure)


def told(axis) -> dict[str, tuple[float, float]]:
    """Words of each mark -> where it stands."""
    return {line.get_gid()[4:]: (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
            for line in axis.lines if (line.get_gid() or "").startswith("tip:")}


def labels(axis) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in axis.texts]


@pytest.fixture
def candidates():
    lines = [("a", "resnet8", titles.BASELINE, 64.0, 0.0, False, 1.0),
             ("b", "resnet8", "GPTQ 4-bit", 8.0, 0.1, False, 0.5),
             ("c", "resnet8", "affine 4-bit", 8.5, 0.4, False, 0.6),
             ("d", "resnet8", "GPTQ 2-bit", 4.0, 40.0, False, 0.2),
             ("e", "resnet8", "affine 3-bit, FP32 ONNX", 2.0, -0.3, True, np.nan),
             ("f", "resnet5", titles.BASELINE, 16.0, 2.0, False, np.nan)]
    table = pd.DataFrame(lines, columns=["id", "model", "technique", "KiB", "loss", "control",
                                         "energy_share"])
    return table.assign(net="resnet8", sizes="", net_sizes="", low=table.loss - 0.2,
                        high=table.loss + 0.2)


def test_a_front_names_marks_by_technique_and_leaves_controls_out(axis, candidates):
    plots.front(axis, candidates, candidates[candidates.id == "b"])
    marks = told(axis)
    assert marks == {
        "GPTQ 4-bit: 0.10 [−0.10, 0.30] pp": (8.0, 0.1),
        "affine 4-bit: 0.40 [0.20, 0.60] pp": (8.5, 0.4),
        "ResNet-5, baseline (FP32): 2.00 [1.80, 2.20] pp": (16.0, 2.0)}
    assert labels(axis) == ["GPTQ 4-bit, 8 KiB", "smaller dense models", "baseline (FP32)"]
    assert axis.get_ylabel() == "loss, pp" and axis.get_xlabel() == "file size, KiB"


def test_the_front_is_what_nothing_smaller_beats(candidates):
    best = plots._best(candidates[~candidates.control].assign(place=lambda t: t.KiB))
    assert list(best.id) == ["d", "b", "a"]


def test_energy_is_in_percent_of_the_baselines(axis, candidates):
    plots.front(axis, candidates, candidates[:0], x="energy_share")
    assert {x for x, _ in told(axis).values()} == {50.0, 60.0}
    assert "modelled" in axis.get_xlabel()


def test_lines_by_bits_have_the_places_of_all_panels_and_one_color_a_name(axis):
    lines = pd.DataFrame({
        "quantizer": ["gptq", "gptq", "hqq"], "bits_asked": [4.0, np.log2(3), 4.0],
        "loss": [0.1, 2.0, 9.0], "low": [0.0, 1.5, 8.0], "high": [0.2, 2.5, 10.0]})
    plots.loss_by_bits(axis, lines, ["affine", "gptq"], widths=[2.0, 8.0])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["ternary", "2", "4", "8"]
    assert labels(axis) == ["GPTQ"] and axis.texts[0].get_color() == style.SERIES[1]
    assert told(axis) == {"GPTQ 4-bit: 0.10 [0.00, 0.20] pp": (2.0, 0.1),
                          "GPTQ ternary: 2.0 [1.5, 2.5] pp": (0.0, 2.0)}


def test_leading_quantizers_lose_least_against_the_median():
    lost = {"good": (0.1, 0.2), "middle": (1.0, 1.0), "bad": (4.0, 3.0)}
    table = pd.DataFrame([{"task": "t", "net": "n", "quantizer": name, "bits_asked": bits,
                           "loss": loss} for name, losses in lost.items()
                          for bits, loss in zip((2, 4), losses, strict=True)])
    assert plots.leading(table) == ["good"]
    gains = table.assign(loss=table.loss.where(table.quantizer != "bad", -9.0))
    assert plots.leading(gains, 1) == ["bad"]           # though a gain counts as no loss
    assert len(plots.leading(pd.concat([table, gains]), 5)) <= 3


@pytest.mark.parametrize("bits, said", [
    (4.0, "4"), (np.log2(3), "ternary"), (np.log2(6), "6 levels")])
def test_widths_in_words(bits, said):
    assert style.bits(bits) == said


@pytest.mark.parametrize("columns", [1, 2])
def test_a_panel_and_its_title_fit_a_phone(columns):
    figure, (axis,) = style.panels(1, columns=columns)
    style.title(axis, "CIFAR-10 · ResNet-20, a very long name of a network that no panel holds")
    figure.draw_without_rendering()
    box = axis.get_tightbbox()
    assert box.width / figure.dpi <= style.PHONE
    assert axis.title.get_window_extent().width <= axis.get_window_extent().width * 1.05
    style.plt.close(figure)


@pytest.mark.parametrize(("way", "base"), [("x", 10), ("y", 10), ("x", 2)])
def test_a_logarithmic_axis_across_less_than_a_power_writes_no_formula(axis, way, base):
    axis.plot([2.1, 7.9], [2.1, 7.9])
    style.logarithmic(axis, base, "{:g}×".format, way)
    axis.figure.draw_without_rendering()
    labels = [t.get_text() for t in getattr(axis, f"get_{way}ticklabels")(which="both")]
    numbers = np.array([float(text.removesuffix("×")) for text in labels if text])
    powers = np.log(numbers) / np.log(base)
    assert len(numbers) and np.allclose(powers, powers.round())

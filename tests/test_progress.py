"""Lines of a run, as a person reads them."""

import re

from lib.base.setting import Setting
from lib.study import progress
from lib.study.trials import Trial


def test_a_line_names_network_and_technique_in_words(capsys):
    trials = [Trial("cifar10", "resnet20", Setting()),
              Trial("cifar10", "resnet20", Setting(sizes="width=8", quantizer="gptq", bits=4),
                    seed=1, fold=2)]
    lines = progress.Lines(trials)
    for trial in trials:
        lines.failed(trial, "no memory")
    said = capsys.readouterr().out
    assert "\n1/2 CIFAR-10 · ResNet-20  " in said
    assert re.search(r"\n2/2 CIFAR-10 · ResNet-20, width 8 · GPTQ 4-bit\s+s1 f2\s+FAILED\n", said)
    assert "as trained" not in said and "gptq" not in said and "resnet20" not in said

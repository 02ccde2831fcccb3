"""A setting as a person would say it."""

DEPLOYED = {"fp32": "a file of floats", "dynamic": "a file of dynamic int8",
            "static": "a file of static int8", "nbits": "a file of 4-bit kernels"}


def worded(asked) -> str:
    """"gptq, 3 bits, folded" for a Setting; "as trained" for one that asks nothing."""
    net = ["Edge's recipe" if asked.recipe == "edge" else
           f"recipe {asked.recipe}" if asked.recipe not in ("", "ours") else "", asked.sizes]
    if asked.trains:
        words = [*net, *_pruning(asked), *_training(asked), *_quantization(asked)]
    else:
        words = [*net, *_training(asked), *_quantization(asked), *_pruning(asked), asked.order]
    words += [DEPLOYED.get(asked.deploy, asked.deploy), asked.policy, asked.trace]
    return ", ".join(word for word in words if word) or "as trained"


def _training(asked) -> list[str]:
    return [asked.tuned, asked.teacher and f"taught by {asked.teacher}",
            f"{asked.epochs} epochs" if asked.epochs else "",
            f"rate {asked.lr:g}" if asked.lr else "",
            f"batches of {asked.batch_size}" if asked.batch_size else ""]


def _quantization(asked) -> list[str]:
    if not asked.quantizer and not asked.a_bits:
        return [asked.repairs]
    usual = "tensor" if asked.quantizer.startswith("edge_") else "channel"
    return [asked.quantizer,
            f"{asked.levels} levels" if asked.levels else
            f"{asked.bits} bits" if asked.bits else "",
            asked.budget,
            f"activations in {asked.a_bits} bits" if asked.a_bits else "",
            asked.a_quantizer if asked.a_quantizer not in ("", "mse") else "",
            f"one range a {asked.granularity}" if asked.granularity != usual else "",
            asked.repairs,
            f"{asked.steps} steps" if asked.steps else ""]


def _pruning(asked) -> list[str]:
    if not asked.pruner:
        return []
    return [f"{asked.pruner} {100 * asked.amount:g} %",
            asked.structure if asked.structure != "unstructured" else "",
            asked.schedule if asked.schedule != "one-shot" else ""]

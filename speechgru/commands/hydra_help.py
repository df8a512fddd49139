"""The help of ``speechgru train`` and ``evaluate``: what to type, what people change, where the rest is."""

from __future__ import annotations

import textwrap

from speechgru.commands.recipes import recipe_names
from speechgru.settings import CHOICE, Setting, known_settings

_USAGE = {
    "train": """\
usage: speechgru train [RECIPE] [group=option ...] [key=value ...] [options]

Trains a model and leaves it in runs/NAME/model, with its learning curves and settings beside it.

examples:
  speechgru train fsdd                                   a recipe; speechgru recipes lists them
  speechgru train data=folder data.root=my_recordings    your recordings, a folder for each label
  speechgru train fsdd seed=1 name=second encoder.hidden_size=64 trainer.epochs=20
  speechgru train fsdd cell=lstm optimizer=sgd optimizer.learning_rate=0.1
  speechgru train run_dir=runs/fsdd resume=true          go on with a run that was stopped
  speechgru train fsdd --multirun seed=0,1,2             a run for each value, in runs/fsdd/0, 1, 2
  speechgru train fsdd --cfg job                         print every setting of a run, train nothing
""",
    "evaluate": """\
usage: speechgru evaluate [MODEL ...] [group=option ...] [key=value ...] [options]

Measures trained models on a split of their corpus; writes results.json, pictures and report.html.

examples:
  speechgru evaluate runs/fsdd/model                     on the test split of the corpus it was trained on
  speechgru evaluate runs/fsdd/model split=valid
  speechgru evaluate runs/fsdd/model data=folder data.root=my_recordings
  speechgru evaluate an4 decoder=beam decoder.beam_size=100
""",
}
# What people change most, by the choice the settings come with.
_COMMON = {
    "train": {
        "train": [
            "name", "run_dir", "seed", "resume", "overwrite", "init_from", "parameters", "trainer.epochs",
            "trainer.batch_size", "trainer.patience", "trainer.monitor", "trainer.device", "trainer.threads",
            "trainer.workers", "trainer.tensorboard",
        ],
        "data=folder": ["data.root"],
        "features=log_mel": ["features.mels"],
        "encoder=gru": ["encoder.hidden_size", "encoder.num_layers", "encoder.dropout"],
        "optimizer=adamw": ["optimizer.learning_rate"],
    },
    "evaluate": {
        "evaluate": ["model", "split", "root", "output_dir", "recipe_dir", "batch_size", "device"],
        "decoder=beam": ["decoder.beam_size", "decoder.language_model"],
    },
}  # fmt: skip
_OPTIONS = """\
Settings are key=value, without dashes and in any order. Options, which begin with dashes, say what to do with them:
  -m, --multirun        a run for each value of key=1,2,3 or group=a,b or 'group=glob(*)', and their combinations
  -c, --cfg job         print the settings and run nothing; --cfg hydra prints those of Hydra, --package KEY a part,
                        --resolve fills in values that other settings give
  --config-dir FOLDER   a folder of your own YAML files: FOLDER/recipe/mine.yaml is then the recipe mine
  --debug               show the traceback of an error

speechgru settings lists every setting; speechgru settings PATTERN explains those with PATTERN in their name."""


def help_of(root: str) -> str:
    """The help of ``train`` or ``evaluate``."""
    settings = known_settings()
    rows = []
    for of, keys in _COMMON[root].items():
        of_it = {setting.key: setting for setting in settings if setting.of == of}
        rows += [(f"{key}={of_it[key].default}", of_it[key].text) for key in keys]
    parts = [
        _USAGE[root],
        "what people change most, with the default:",
        _columns(rows),
        "\ngroups, chosen as group=option; each option has settings of its own, group.key=value:",
        _columns(_groups(root, settings)),
        "",
        _OPTIONS,
    ]
    return "\n".join(parts)


def _groups(root: str, settings: list[Setting]) -> list[tuple[str, str]]:
    rows = [("recipe", ", ".join(recipe_names()))] if root == "train" else []
    for setting in settings:
        if setting.of == root and setting.kind.startswith(CHOICE):
            group = "data@extra_data" if setting.key == "extra_data" else setting.key
            default = f" (default {setting.default})" if setting.default != "null" else ""
            rows.append((group, setting.kind.removeprefix(CHOICE) + default))
    return rows


def _columns(rows: list[tuple[str, str]]) -> str:
    lines = []
    for name, text in rows:
        wrapped = textwrap.wrap(text.replace("`", ""), 86, break_on_hyphens=False) or [""]
        lines += [f"  {name:<30}{wrapped[0]}", *(f"{'':32}{line}" for line in wrapped[1:])]
    return "\n".join(lines)

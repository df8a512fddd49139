"""Training: what the loop learns, and that killing, resuming and distributing it change nothing."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from small_run import ALONE, SMALL, command, cut, rows, run, same, tensors

import speechgru
from speechgru.cells.subnormals import subnormals_are_flushed
from speechgru.config import compose, plain
from speechgru.errors import ConfigError, DataError, ModelError, TrainingStopped
from speechgru.registry import build, names
from speechgru.training.average import ExponentialAverage
from speechgru.training.logging import MetricsLog
from speechgru.training.objective import Objective
from speechgru.training.run import train
from speechgru.training.selection import Selection
from speechgru.training.trainer import Trainer


def test_learns_and_leaves_its_folder(three_tones: Path, tmp_path: Path) -> None:
    """Three tones are told apart after a few epochs; model, log, picture, card and summary are there."""
    progress = run(three_tones, tmp_path / "run", "trainer.epochs=8")
    assert progress.finished
    assert progress.best is not None
    assert progress.best >= 0.9
    for name in ("model/config.yaml", "model/model.safetensors", "model/card.md", "curves.png", "run.json"):
        assert (tmp_path / "run" / name).is_file(), name
    assert [row["epoch"] for row in rows(tmp_path / "run")] == list(range(1, 9))
    checkpoint = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    again = run(three_tones, tmp_path / "run", "trainer.epochs=8")
    assert again == progress  # a finished run is not run again
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == checkpoint


def test_subnormal_numbers_are_zeros_in_every_step(
    three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: the mode in the steps of the trainer, and after."""
    modes, update = [], Trainer._update

    def watched(self: Trainer, batches: list) -> None:
        modes.append(subnormals_are_flushed())
        update(self, batches)

    supported = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    monkeypatch.setattr(Trainer, "_update", watched)
    run(three_tones, tmp_path / "run", "trainer.epochs=1")
    assert modes
    assert set(modes) == {supported}
    assert not subnormals_are_flushed()


def test_two_runs_are_bit_equal_and_seeds_are_not(three_tones: Path, tmp_path: Path) -> None:
    """The same seed gives the same bits, another seed others."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(three_tones, tmp_path / name, "trainer.epochs=2", f"seed={seed}")
    same(tmp_path / "a", tmp_path / "b")
    a, c = tensors(tmp_path / "a"), tensors(tmp_path / "c")
    assert not torch.equal(a["model/head.output.weight"], c["model/head.output.weight"])


OFTEN = "trainer.checkpoint_s=0.001"  # after every step


@pytest.fixture(scope="module")
def uninterrupted(three_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing cut."""
    folder = tmp_path_factory.mktemp("whole")
    run(three_tones, folder, OFTEN)
    return folder


@pytest.mark.parametrize("place", [(MetricsLog, "write"), (MetricsLog, "draw"), (Selection, "validate")])
def test_killed_between_two_files(
    three_tones: Path, tmp_path: Path, uninterrupted: Path, place: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the second epoch right after its row, picture or model was written, before the checkpoint knows it."""
    kind, name = place
    method, calls = getattr(kind, name), []

    def cut(self, *given, **named):
        result = method(self, *given, **named)
        calls.append(name)
        if len(calls) == 2:
            raise MemoryError("killed")
        return result

    monkeypatch.setattr(kind, name, cut)
    with pytest.raises(MemoryError):
        run(three_tones, tmp_path / "cut", OFTEN)
    monkeypatch.undo()
    run(three_tones, tmp_path / "cut", OFTEN, "resume=true")
    same(uninterrupted, tmp_path / "cut")


def test_cut_in_its_last_epoch(
    three_tones: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only the end does is done after one update, too."""
    updates = rows(uninterrupted)[-1]["step"]
    cut(monkeypatch, three_tones, tmp_path / "cut", updates - 1, OFTEN)
    assert [row["epoch"] for row in rows(tmp_path / "cut")] == [1, 2, 3]
    run(three_tones, tmp_path / "cut", OFTEN, "resume=true")
    same(uninterrupted, tmp_path / "cut")


def test_no_two_steps_draw_the_same_masks(three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeds of dropout and of the masks, at each step of three epochs. Oracle: as many as there are steps."""
    masks, dropout, forward = [], [], Objective.forward

    def watched(self: Objective, *given: Any) -> torch.Tensor:
        masks.append(given[-1])
        dropout.append(torch.initial_seed())
        return forward(self, *given)

    monkeypatch.setattr(Objective, "forward", watched)
    progress = run(three_tones, tmp_path / "run", "trainer.epochs=3")
    assert len(masks) == progress.step
    assert len(set(masks)) == len(set(dropout)) == progress.step


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_a_gradient_is_clipped(clip: float, three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain SGD moves the weights by learning rate x norm, and by no more than learning rate x clip."""
    moved, update = [], Trainer._update

    def watched(self: Trainer, batches: list) -> None:
        before = torch.nn.utils.parameters_to_vector(self.recognizer.parameters()).detach().clone()
        norms = self.progress.norm_sum
        update(self, batches)
        after = torch.nn.utils.parameters_to_vector(self.recognizer.parameters()).detach()
        moved.append((float((after - before).norm()), self.progress.norm_sum - norms))

    monkeypatch.setattr(Trainer, "_update", watched)
    plain_sgd = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0", "optimizer.learning_rate=0.5"]
    constant = ["schedule=constant", "schedule.warmup=0", "trainer.epochs=1", f"trainer.gradient_clip={clip}"]
    run(three_tones, tmp_path / "run", *plain_sgd, *constant)
    assert len(moved) >= 5
    for distance, norm in moved:
        assert norm > 1e-2
        assert distance == pytest.approx(0.5 * (clip or norm), rel=1e-3)


@pytest.mark.parametrize("after_s", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_kill_9_then_resume_gives_the_same_bits(
    three_tones: Path, tmp_path: Path, uninterrupted: Path, after_s: float
) -> None:
    """Killed at some moment (each step saves) and resumed = never killed. Oracle: the uninterrupted run."""
    process = subprocess.Popen(
        [sys.executable, *command(three_tones, tmp_path / "cut", OFTEN)],
        env=ALONE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.01)
    time.sleep(after_s)
    process.kill()
    process.wait()
    run(three_tones, tmp_path / "cut", OFTEN, "resume=true")
    same(uninterrupted, tmp_path / "cut")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_saves_and_says_how_to_go_on(number: signal.Signals, three_tones: Path, tmp_path: Path) -> None:
    """A signal ends the run after the step with one line; resumed it ends as the uninterrupted run."""
    many = "trainer.epochs=12"
    process = subprocess.Popen(
        [sys.executable, *command(three_tones, tmp_path / "cut", many)],
        env=ALONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "cut" / "metrics.jsonl").exists() or not rows(tmp_path / "cut"):
        assert process.poll() is None, "the run ended before its first epoch"
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert f"go on with speechgru train run_dir={tmp_path / 'cut'} resume=true" in errors
    assert "Traceback" not in errors
    run(three_tones, tmp_path / "cut", many, "resume=true")
    run(three_tones, tmp_path / "whole", many)
    same(tmp_path / "whole", tmp_path / "cut")


def test_labels_of_the_second_corpus_are_not_in_the_model(three_tones: Path, tmp_path: Path) -> None:
    """They are learned (the checkpoint scores three labels) and dropped from what is kept. Oracle: the folders."""
    import shutil

    for corpus, label in (("own", "low"), ("own", "high"), ("extra", "middle")):
        shutil.copytree(three_tones / label, tmp_path / corpus / label)
    overrides = [*SMALL, "data=folder", f"data.root={tmp_path / 'own'}", "data@extra_data=folder"]
    config = compose("train", [*overrides, f"extra_data.root={tmp_path / 'extra'}", "trainer.epochs=2"])
    train(config, tmp_path / "run", plain(config))
    assert len(tensors(tmp_path / "run")["model/head.output.weight"]) == 3
    model = tmp_path / "run" / "model"
    assert (model / "tokens.txt").read_text().split() == ["high", "low"]
    assert len(load_file(model / "model.safetensors")["head.output.weight"]) == 2


# The command line, which leaves a digest of the final weights and how many examples were seen in $SEEN<rank>.
SPY = """\
import os, sys, hashlib
from speechgru.training import trainer
from speechgru.cli import main
fit = trainer.Trainer.fit
def spied(self):
    progress = fit(self)
    state = self.recognizer.state_dict()
    digest = hashlib.sha256(b''.join(t.numpy().tobytes() for t in state.values())).hexdigest()
    open(os.environ['SEEN'] + os.environ['RANK'], 'w').write(f'{digest} {progress.examples}')
    return progress
trainer.Trainer.fit = spied
sys.exit(main(sys.argv[1:]))
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ONE_MACHINE = ["--nproc_per_node=2", "--standalone", "--local_addr=127.0.0.1"]


def test_torchrun_with_two_processes(three_tones: Path, tmp_path: Path) -> None:
    """Two processes see every utterance once an epoch and end with equal weights."""
    (tmp_path / "weights.py").write_text(SPY)
    words = command(three_tones, tmp_path / "run", "trainer.epochs=2", "front_end=convolution")[2:]
    launcher = [*TORCHRUN, *ONE_MACHINE, str(tmp_path / "weights.py"), *words]
    env = ALONE | {"SEEN": str(tmp_path / "rank")}
    done = subprocess.run(launcher, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("learning curves") == 1
    first, second = (tmp_path / "rank0").read_text().split(), (tmp_path / "rank1").read_text().split()
    assert first == second
    config = compose("train", ["data=folder", f"data.root={three_tones}"])
    assert int(first[1]) == 2 * len(build("data", config.data).utterances("train"))


@pytest.mark.slow
def test_torchrun_with_two_groups_of_processes(three_tones: Path, tmp_path: Path) -> None:
    """Two launchers, as on two machines, that meet at an address. Oracle: one launcher of two processes, to the bit."""
    (tmp_path / "weights.py").write_text(SPY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    meet = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}"]
    two = [[*meet, "--rdzv_id=two", "--local_addr=127.0.0.1"]] * 2
    for name, launchers in (("one", [ONE_MACHINE]), ("two", two)):
        words = command(three_tones, tmp_path / name, "trainer.epochs=2")[2:]
        env = ALONE | {"SEEN": str(tmp_path / f"{name}-rank")}
        groups = [
            subprocess.Popen(
                [*TORCHRUN, *options, str(tmp_path / "weights.py"), *words], env=env, stderr=subprocess.PIPE, text=True
            )
            for options in launchers
        ]
        said = [group.communicate(timeout=900)[1] for group in groups]
        assert [group.returncode for group in groups] == [0] * len(groups), said
        assert "".join(said).count("learning curves") == 1
    assert len({(tmp_path / f"{name}-rank{rank}").read_text() for name in ("one", "two") for rank in (0, 1)}) == 1
    same(tmp_path / "one", tmp_path / "two")


def test_accumulation_equals_the_larger_batch(three_tones: Path, tmp_path: Path) -> None:
    """Two batches summed into one update = one batch of both, where nothing is drawn per batch. Oracle: the latter."""
    still = ["~augment", "encoder.dropout=0", "head.dropout=0", "trainer.epochs=1", "trainer.ema_decay=0"]
    overrides = [one for one in SMALL if not one.startswith("augment")] + still
    for name, batch, accumulate in (("one", 200, 1), ("two", 24, 2)):
        config = compose("train", ["data=folder", f"data.root={three_tones}", *overrides])
        config.trainer.batch_size, config.trainer.accumulate = batch, accumulate
        train(config, tmp_path / name, plain(config))
    a, b = rows(tmp_path / "one")[0], rows(tmp_path / "two")[0]
    assert a["step"] == b["step"] == 1
    assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-5)
    assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-4)


def test_non_finite_gradients_are_skipped_and_stop_the_run(three_tones: Path, tmp_path: Path) -> None:
    """A huge learning rate breaks the weights; after max_nonfinite steps the run stops and says what to do."""
    with pytest.raises(TrainingStopped, match=r"3 steps in a row .*learning_rate"):
        run(three_tones, tmp_path / "run", "optimizer.learning_rate=1e30", "trainer.max_nonfinite=3")


def test_early_stopping(three_tones: Path, tmp_path: Path) -> None:
    """With a vanishing learning rate nothing gets better, and the run ends `patience` epochs after its best."""
    progress = run(
        three_tones,
        tmp_path / "run",
        "trainer.monitor=loss",
        "optimizer.learning_rate=0.1",
        "trainer.epochs=60",
        "trainer.patience=2",
    )
    assert progress.epoch == progress.best_epoch + 2 or progress.epoch == 60
    assert progress.epoch < 60


def test_bf16_learns(three_tones: Path, tmp_path: Path) -> None:
    """bf16 autocast reaches what fp32 reaches on this easy task."""
    progress = run(three_tones, tmp_path / "run", "trainer.precision=bf16", "trainer.epochs=8", "front_end=convolution")
    assert progress.best is not None
    assert progress.best >= 0.9


def test_mixup_and_global_statistics(three_tones: Path, tmp_path: Path) -> None:
    """Global normalisation is fitted on the training set once and kept in the model; mixup trains."""
    progress = run(
        three_tones, tmp_path / "run", "features.normalization=global", "trainer.mixup=0.2", "trainer.epochs=8"
    )
    assert progress.best is not None
    assert progress.best >= 0.8
    with pytest.raises(ConfigError, match=r"trainer\.consistency=0\.2: compares frames; 0 without head=ctc"):
        run(three_tones, tmp_path / "none", "trainer.consistency=0.2")


def test_a_run_is_not_overwritten_by_accident(three_tones: Path, tmp_path: Path) -> None:
    """An unfinished run in the folder is an error that names both mends; resume=true in an empty folder begins."""
    with pytest.raises(TrainingStopped):
        run(three_tones, tmp_path / "run", "optimizer.learning_rate=1e30")
    with pytest.raises(ConfigError, match=r"stopped after 0 epochs;.*resume=true.*overwrite=true"):
        run(three_tones, tmp_path / "run", "optimizer.learning_rate=1e30")
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate=1e\+30 there, 0\.01 here;.*overwrite=true"):
        run(three_tones, tmp_path / "run")
    assert run(three_tones, tmp_path / "run", "overwrite=true").finished
    assert run(three_tones, tmp_path / "other", "resume=true").finished  # nothing to go on from: it begins


def test_resume_with_another_model_is_refused(three_tones: Path, tmp_path: Path) -> None:
    """A checkpoint of other sizes, another seed and a damaged file: one clear line each."""
    broken = "optimizer.learning_rate=1e30"
    with pytest.raises(TrainingStopped):
        run(three_tones, tmp_path / "run", broken)
    changed = "encoder.hidden_size=12 there, 8 here; head.attention_heads=2 there, 4 here; go on with"
    with pytest.raises(ConfigError, match=changed):
        run(three_tones, tmp_path / "run", broken, "resume=true", "encoder.hidden_size=8", "head.attention_heads=4")
    with pytest.raises(ConfigError, match="seed=0 there, 7 here"):
        run(three_tones, tmp_path / "run", broken, "resume=true", "seed=7")
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        run(three_tones, tmp_path / "run", broken, "resume=true")
    assert run(three_tones, tmp_path / "run", "overwrite=true").finished


def test_init_from_starts_where_the_other_model_ended(three_tones: Path, tmp_path: Path) -> None:
    """With a learning rate of almost nothing the weights stay those of the given model."""
    run(three_tones, tmp_path / "a", "trainer.epochs=6", "trainer.ema_decay=0")
    run(
        three_tones,
        tmp_path / "b",
        f"init_from={tmp_path / 'a' / 'model'}",
        "optimizer.learning_rate=1e-9",
        "trainer.epochs=1",
        "trainer.ema_decay=0",
    )
    a = load_file(tmp_path / "a" / "model" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "b" / "model" / "model.safetensors").items():
        torch.testing.assert_close(tensor, a[name], atol=1e-6, rtol=0)


def test_init_from_may_normalise_otherwise(three_tones: Path, tmp_path: Path) -> None:
    """Oracle: the weights of the given model; what the frames of the training recordings become has mean 0."""
    quick = ("trainer.epochs=1", "trainer.ema_decay=0")
    run(three_tones, tmp_path / "a", *quick)
    words = ("features.normalization=global", "optimizer.learning_rate=1e-9", *quick)
    run(three_tones, tmp_path / "b", f"init_from={tmp_path / 'a' / 'model'}", *words)
    a, b = (load_file(tmp_path / name / "model" / "model.safetensors") for name in "ab")
    assert set(b) - set(a) == {"features.mean", "features.std", "features.fitted"}
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, atol=1e-6, rtol=0)
    model = speechgru.load(tmp_path / "b" / "model")
    clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(three_tones.rglob("*.wav"))]
    frames = [model.features(torch.from_numpy(one)[None], torch.tensor([len(one)]))[0][0] for one in clips]
    assert torch.cat(frames).mean(0).abs().max() < 0.3  # a fifth of the clips are for validation


def test_unreadable_files_are_counted(three_tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken recording among good ones is left out, told at the start and the end, and counted; it stops no run."""
    import shutil

    root = tmp_path / "corpus"
    shutil.copytree(three_tones, root)
    for number in range(20, 30):
        (root / "low" / f"{number}.wav").write_bytes(b"RIFF broken")
    run(root, tmp_path / "run", "trainer.epochs=1")
    unreadable = rows(tmp_path / "run")[0]["unreadable"]
    assert unreadable >= 6
    said = capsys.readouterr().err.splitlines()
    train, valid = (f" {split} recordings cannot be used and are left out:" for split in ("training", "validation"))
    starts = [number for number, line in enumerate(said) if line.endswith(train)]
    assert len(starts) == 2
    for start in starts:
        assert said[start].startswith(f"{unreadable} of ")
        assert all("/low/2" in line for line in said[start + 1 : start + 6])
        assert said[start + 6] == "  ..."
    (epoch,) = (number for number, line in enumerate(said) if line.startswith("epoch 1/1: "))
    assert starts[0] < epoch < starts[1]
    assert sum(line.endswith(valid) for line in said) == 1
    for path in (root / "middle").glob("*.wav"):
        path.write_bytes(b"")
    for label in ("low", "high"):
        shutil.rmtree(root / label)
    with pytest.raises(DataError, match=r"none of the \d+ training recordings can be used; the first: .*middle/"):
        run(root, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_each_epoch_leaves_a_line(three_tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal, with the figures of metrics.jsonl. Oracle: that file."""
    run(three_tones, tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    best, best_epoch = 0.0, 0
    for line, row in zip(lines, rows(tmp_path / "run"), strict=True):
        if row["valid_accuracy"] >= best:
            best, best_epoch = row["valid_accuracy"], row["epoch"]
        told = "kept" if best_epoch == row["epoch"] else f"best {best:.4f} in epoch {best_epoch}"
        losses = f"train loss {row['train_loss']:.4f}, validation loss {row['valid_loss']:.4f}"
        assert line.startswith(f"epoch {row['epoch']}/4: {losses}, accuracy {row['valid_accuracy']:.4f} ({told}), ")


@pytest.mark.parametrize("name", names("schedule"))
def test_schedules(name: str) -> None:
    """Every schedule stays within 0 and 1, peaks at 1, warms up from below and (constant aside) ends near its floor."""
    config = compose("train", ["data=folder", f"schedule={name}", "schedule.warmup=0.2"]).schedule
    factors = [build("schedule", config, 200)(step) for step in range(200)]
    assert min(factors) > 0
    assert max(factors) == pytest.approx(1.0, abs=0.02)
    assert factors[0] < 0.1
    assert factors == factors[:40] + sorted(factors[40:], reverse=True)
    if name != "constant":
        assert factors[-1] < 0.03


def test_cosine_is_the_formula() -> None:
    """Oracle: torch's CosineAnnealingLR without warm-up."""
    config = compose("train", ["data=folder", "schedule=cosine", "schedule.warmup=0", "schedule.floor=0.1"]).schedule
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    ours = build("schedule", config, 50)
    for step in range(50):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        oracle.step()


def test_exponential_average() -> None:
    """It follows its formula, and integers are the latest. Oracle: the formula written out."""
    module = torch.nn.BatchNorm1d(2)
    average = ExponentialAverage(module, 0.5)
    expected = module.weight.detach().clone()
    for step in range(4):
        with torch.no_grad():
            module.weight.fill_(float(step))
        module.num_batches_tracked.fill_(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        average.update(module)
    torch.testing.assert_close(average.tensors["weight"], expected)
    assert int(average.tensors["num_batches_tracked"]) == 3


def test_weight_decay_leaves_biases_alone() -> None:
    """Only tensors of two or more dimensions are decayed."""
    config = compose(
        "train", ["data=folder", "optimizer=sgd", "optimizer.weight_decay=0.5", "optimizer.momentum=0"]
    ).optimizer
    module = torch.nn.Linear(2, 2)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = build("optimizer", config, module)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(module.bias, before["bias"])
    torch.testing.assert_close(module.weight, before["weight"] * (1 - 0.1 * 0.5))


def test_the_last_epoch_is_kept_where_that_is_asked_for(three_tones: Path, tmp_path: Path) -> None:
    """Oracle: the averaged weights of the checkpoint; the run resumed in its middle keeps the same."""
    run(three_tones, tmp_path / "run", "trainer.keep_last=true", "trainer.monitor=loss")
    kept, last = load_file(tmp_path / "run" / "model" / "model.safetensors"), tensors(tmp_path / "run")
    assert all(torch.equal(tensor, last[f"average/{name}"]) for name, tensor in kept.items())
    assert [row["best"] for row in rows(tmp_path / "run")] == [True] * 4
    with pytest.raises(ConfigError, match="patience=3: keep_last=true waits for no best epoch"):
        run(three_tones, tmp_path / "none", "trainer.keep_last=true", "trainer.patience=3")


def test_only_transcripts_are_joined(three_tones: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer.join=0.5: joins transcripts; 0 without head=ctc"):
        run(three_tones, tmp_path / "none", "trainer.join=0.5")

"""CTC: the loss, what is feasible, a recognizer of transcripts from training to words with times."""

import itertools
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from speechgru.cli import main
from speechgru.config import compose, plain
from speechgru.decoding import GreedyDecoder, Hypothesis
from speechgru.decoding.calibration import Calibration
from speechgru.decoding.transcription import transcription
from speechgru.encoders import GRUEncoderConfig
from speechgru.encoders.convolution import ConvolutionConfig
from speechgru.errors import AudioError, ConfigError, DataError, ModelError
from speechgru.evaluation.diagnosis import explain_blanks
from speechgru.evaluation.tasks import task_of
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig, CTCConfig, CTCHead
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.text import Characters, CharactersConfig, PhonesConfig
from speechgru.tokens import Tokens
from speechgru.training.run import train

TOKENS = Tokens(["<blank>", "|", "A", "B"])


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    """A path without repetitions and blanks, by the definition."""
    return tuple(token for token, _ in itertools.groupby(path) if token)


@pytest.mark.parametrize("target", [(1,), (1, 2), (2, 2), (1, 1, 1), (1, 2, 1), (2, 2, 1, 1), ()])
def test_loss_and_feasibility_are_the_sum_over_all_paths(target):
    """Oracle: enumeration of all paths of 1 to 5 frames over three tokens."""
    head = CTCHead(4, Tokens(["<blank>", "A", "B"]))
    torch.manual_seed(0)
    for frames in range(1, 6):
        scores = torch.randn(1, frames, 3, dtype=torch.float64).log_softmax(2)
        paths = [path for path in itertools.product(range(3), repeat=frames) if collapsed(path) == target]
        total = sum(math.exp(sum(scores[0, t, token] for t, token in enumerate(path))) for path in paths)
        padded = torch.zeros(1, 5, dtype=torch.int64)
        padded[0, : len(target)] = torch.tensor(target, dtype=torch.int64)
        lengths, target_lengths = torch.tensor([frames]), torch.tensor([len(target)])
        assert bool(head.feasible(lengths, padded, target_lengths)) == bool(paths)
        loss = head.loss(scores.float(), lengths, padded, target_lengths)
        assert loss.item() == pytest.approx(-math.log(total) if paths else math.inf, rel=1e-5)


def test_an_infeasible_row_changes_nothing_of_the_others():
    """Oracle: the batch without that row; padding of the targets is not looked at."""
    head = CTCHead(4, TOKENS)
    torch.manual_seed(0)
    scores = torch.randn(3, 6, 4).log_softmax(2).requires_grad_()
    targets = torch.tensor([[2, 3, 3], [2, 2, 2], [1, 0, 0]])
    lengths, target_lengths = torch.tensor([6, 4, 3]), torch.tensor([3, 3, 1])
    losses = head.loss(scores, lengths, targets, target_lengths)
    assert losses[1].isinf()
    (losses[0] + losses[2]).backward()
    assert scores.grad is not None
    gradient = scores.grad.clone()
    assert gradient[1].abs().max() == 0
    scores.grad = None
    kept = torch.tensor([0, 2])
    alone = head.loss(scores[kept], lengths[kept], targets[kept], target_lengths[kept])
    alone.sum().backward()
    torch.testing.assert_close(losses[kept], alone)
    torch.testing.assert_close(gradient, scores.grad)
    losses = head.loss(scores, lengths, targets, target_lengths)
    losses.sum().backward()  # a gradient without NaN, even where the loss is infinite
    assert scores.grad.isfinite().all()


def made_up(seed: int = 0, units=None, tokens: Tokens = TOKENS) -> Recognizer:
    """A small untrained recognizer whose output is not all blank."""
    torch.manual_seed(seed)
    front_end = ConvolutionConfig(channels=[4, 4], stride_time=[1, 2], stride_feature=[2, 2])
    config = RecognizerConfig(
        LogMelConfig(sample_rate=8000, mels=12),
        GRUEncoderConfig(hidden_size=8, num_layers=2, front_end=front_end),
        CTCConfig(),
        units=units or CharactersConfig(),
    )
    recognizer = Recognizer(config, tokens).eval()
    with torch.no_grad():
        recognizer.head.output.weight.normal_(std=3)
    return recognizer


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def test_the_batch_makes_no_difference():
    """Oracle: each recording alone."""
    recognizer = made_up()
    waveforms = [noise(n, n) for n in (900, 4000, 8000, 2501)]
    together = recognizer.log_probabilities(waveforms)
    frames = recognizer.output_lengths(torch.tensor([len(one) for one in waveforms]))
    for one, scores, count in zip(waveforms, together, frames.tolist(), strict=True):
        (alone,) = recognizer.log_probabilities([one])
        assert scores.shape == alone.shape == (count, 4)
        np.testing.assert_allclose(scores, alone, atol=1e-5)
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-5)
    texts = [one.text for one in recognizer.transcribe_waveforms(waveforms)]
    assert texts == [recognizer.transcribe(one.numpy(), source_rate=8000).text for one in waveforms]
    many = recognizer.transcribe([one.numpy() for one in waveforms], source_rate=8000, batch_size=3)
    assert texts == [one.text for one in many]
    assert any(texts)
    assert recognizer.frame_s == pytest.approx(0.02)
    assert not recognizer.training


def test_words_times_and_confidences_by_hand():
    """Oracle: the frames written here: A A _ B | | _ A; the best frame of each token counts."""
    path = [2, 2, 0, 3, 1, 1, 0, 2]
    sure = [0.5, 0.9, 0.8, 0.6, 0.7, 0.95, 0.9, 0.8]
    probabilities = np.array(
        [[p if i == k else (1 - p) / 3 for i in range(4)] for k, p in zip(path, sure, strict=True)]
    )
    scores = np.log(probabilities).astype(np.float32)
    (found,) = GreedyDecoder(TOKENS).decode(scores)
    units = Characters(CharactersConfig())
    heard = transcription(found, scores, TOKENS, units, 0.02, 0.155, Calibration())
    assert (heard.text, heard.tokens, heard.duration_s) == ("AB A", ["A", "B", "|", "A"], 0.155)
    first, second = heard.words
    # Each a frame longer than its tokens on both sides, but not beyond the beginning and the end.
    assert (first.word, first.start_s, first.end_s) == ("AB", 0, pytest.approx(0.10))
    assert (second.word, second.start_s, second.end_s) == ("A", pytest.approx(0.12), 0.155)
    assert first.confidence == pytest.approx((0.9 + 0.6) / 2, abs=1e-6)
    assert second.confidence == pytest.approx(0.8, abs=1e-6)
    assert heard.confidence == pytest.approx((0.75 + 0.8) / 2, abs=1e-6)
    line = Calibration(0.5, -1.0)
    put_right = transcription(found, scores, TOKENS, units, 0.02, 0.155, line)
    assert [one.confidence for one in put_right.words] == pytest.approx(line.apply([0.75, 0.8]).tolist(), abs=1e-6)
    # A decoder's own words have their own spans of tokens.
    told = Hypothesis(found.tokens, found.score, found.starts, found.ends, (("alpha", 0, 2), ("beta", 3, 4)))
    assert transcription(told, scores, TOKENS, units, 0.02, 1.0, Calibration()).text == "alpha beta"
    # What is between neighbours is divided: here the frame from 4 to 5, there nothing.
    for starts, ends, edge_s in (((0, 3, 5, 7), (2, 4, 6, 8), 0.09), ((0, 3, 4, 7), (2, 4, 6, 8), 0.08)):
        spans = Hypothesis(found.tokens, found.score, starts, ends, (("alpha", 0, 2), ("beta", 2, 4)))
        near = transcription(spans, scores, TOKENS, units, 0.02, 1.0, Calibration()).words
        assert (near[0].end_s, near[1].start_s, near[1].end_s) == pytest.approx((edge_s, edge_s, 0.18))
    silent = transcription(Hypothesis((), 0.0, (), ()), scores[:0], TOKENS, units, 0.02, 0.0, Calibration())
    assert (silent.text, silent.words, silent.confidence) == ("", [], 1.0)


def test_saved_and_loaded_is_the_same_to_the_bit(tmp_path: Path):
    """Oracle: the model itself; the folder of phones needs the dictionary no more."""
    recognizer = made_up()
    recognizer.config.calibration = Calibration(0.7, -0.2)
    recognizer.save(tmp_path / "letters")
    again = Recognizer.load(tmp_path / "letters")
    assert again.task == "ctc"
    assert again.config == recognizer.config
    assert again.transcribe_waveforms([noise(8000)]) == recognizer.transcribe_waveforms([noise(8000)])
    np.testing.assert_array_equal(*(one.log_probabilities([noise(4000)])[0] for one in (recognizer, again)))

    (tmp_path / "own.dic").write_text("A AH\nBE B IY\n")
    spoken = made_up(
        units=PhonesConfig(dictionary=str(tmp_path / "own.dic")), tokens=Tokens(["<blank>", "AH", "B", "IY"])
    )
    spoken.save(tmp_path / "phones")
    (tmp_path / "own.dic").unlink()
    shutil.move(tmp_path / "phones", tmp_path / "elsewhere")
    again = Recognizer.load(tmp_path / "elsewhere")
    assert again.units is not None
    assert again.units.encode("be a", again.tokens) == [2, 3, 1]
    assert str(tmp_path) not in "".join(one.read_text(errors="ignore") for one in (tmp_path / "elsewhere").iterdir())
    (tmp_path / "elsewhere" / "pronunciations.txt").unlink()
    with pytest.raises(ModelError, match=r"pronunciations\.txt"):
        Recognizer.load(tmp_path / "elsewhere")


def test_the_wrong_head_and_bad_input_are_told_in_a_line(tmp_path: Path):
    """Oracle: what the message must name."""
    recognizer = made_up()
    with pytest.raises(ModelError, match=r"ctc head; classify needs .* transcribe is for this one"):
        recognizer.classify_waveforms([noise(800)])
    with pytest.raises(ModelError, match="ctc head; embed needs"):
        recognizer.embed(noise(800).numpy(), source_rate=8000)
    with pytest.raises(AudioError, match="has no samples"):
        recognizer.log_probabilities([noise(0)])
    with pytest.raises(ConfigError, match="batch_size=0"):
        recognizer.transcribe([], batch_size=0)
    assert recognizer.transcribe([]) == recognizer.log_probabilities([]) == []
    assert recognizer.transcribe_waveforms([noise(1)])[0].duration_s == 1 / 8000  # shorter than a frame
    parts = LogMelConfig(), GRUEncoderConfig(hidden_size=4)
    classifier = Recognizer(RecognizerConfig(*parts, ClassificationConfig()), Tokens(["a", "b"]))
    for call in (classifier.transcribe_waveforms, classifier.log_probabilities, lambda _: classifier.decoder()):
        with pytest.raises(ModelError, match=r"classification head; transcribe needs .* classify is for this one"):
            call([noise(800)])
    for head, units, tokens, message in (
        (CTCConfig(), None, TOKENS, "units=characters"),
        (ClassificationConfig(), CharactersConfig(), TOKENS, "choose head=ctc"),
        (CTCConfig(), CharactersConfig(), Tokens(["A", "<blank>"]), "first of a ctc head is <blank>"),
    ):
        with pytest.raises(ConfigError, match=message):
            Recognizer(RecognizerConfig(*parts, head, units=units), tokens)
    with pytest.raises(DataError, match="another model"):
        recognizer.decoder().decode(np.zeros((3, 9), np.float32))


def test_monitors_of_each_task():
    """Oracle: the figures each validation gives."""
    labels, texts = task_of("classification"), task_of("ctc")
    assert labels.monitor(None, "classification") == "accuracy"
    assert texts.monitor(None, "ctc") == "wer"
    assert texts.monitor("loss", "ctc") == "loss"
    with pytest.raises(ConfigError, match=r"trainer\.monitor=accuracy: with head=ctc it is one of wer, cer, loss"):
        texts.monitor("accuracy", "ctc")
    with pytest.raises(ConfigError, match="one of accuracy, loss"):
        labels.monitor("wer", "classification")


def test_silence_is_explained():
    """Oracle: the cause that each case was made to have."""
    case = {"blank_share": 1.0, "epoch": 30, "epochs": 60, "utterances": 900, "frames_per_token": 8.0, "subsampling": 2}
    for change, cause in (
        ({"epoch": 2}, "normal in the first epochs"),
        ({"frames_per_token": 1.4}, "1.4 frames a token are too few"),
        ({"utterances": 40}, "40 training utterances are little data"),
        ({}, "the learning rate"),
    ):
        line = explain_blanks(**(case | change))
        assert cause in line
        assert "100.0 %" in line
        assert "\n" not in line


LETTERS = {"A": 300, "B": 900, "C": 2500}
SMALL = [
    "head=ctc",
    "units=characters",
    "features.sample_rate=8000",
    "features.mels=12",
    "features.normalization=none",
    "encoder.hidden_size=16",
    "encoder.num_layers=1",
    "encoder.pyramid=[2]",
    "optimizer.learning_rate=0.02",
    "trainer.batch_size=4",
    "trainer.epochs=2",
    "trainer.threads=1",
    "trainer.device=cpu",
    "augment.noise.probability=0.5",
    "augment.spectrogram.time_masks=1",
]


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of tones that spell letters, 50 ms each with pauses; one transcript is too long for its recording."""
    root = tmp_path_factory.mktemp("spelled")
    rng = np.random.default_rng(0)
    rows = ["audio\ttext\tsplit"]
    for number in range(48):
        text = " ".join("".join(rng.choice(list(LETTERS), rng.integers(1, 3))) for _ in range(rng.integers(1, 3)))
        pieces = [np.zeros(400)]
        for letter in text:
            tone = np.sin(2 * math.pi * LETTERS.get(letter, 0) * np.arange(500) / 8000)
            pieces += [0.3 * tone, np.zeros(300 if letter != " " else 500)]
        wave = np.concatenate(pieces) + 0.003 * rng.standard_normal(sum(map(len, pieces)))
        soundfile.write(root / f"{number}.wav", wave, 8000)
        text = text if number != 5 else "a" * 200
        rows.append(f"{number}.wav\t{text.lower()}\t{'train' if number < 36 else 'valid' if number < 42 else 'test'}")
    (root / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return root


def run(root: Path, folder: Path, *overrides: str):
    """Trains in this process; returns the progress."""
    left_out = tuple(one.removeprefix("~") for one in overrides if one.startswith("~"))
    settings = [one for one in SMALL if not left_out or not one.startswith(left_out)]
    config = compose("train", ["data=folder", f"data.root={root}", *settings, *overrides])
    return train(config, folder, plain(config))


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


@pytest.fixture(scope="module")
def trained(spelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    front_end = ["front_end=convolution", "front_end.channels=[8]", "front_end.stride_feature=[2]"]
    run(spelled, folder, "trainer.epochs=18", "name=spelled", "~augment", *front_end, "front_end.stride_time=[1]")
    return folder


def test_learns_to_spell(spelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the transcripts of unheard recordings, through evaluate; and what the run's folder must hold."""
    model = trained / "model"
    assert (model / "tokens.txt").read_text().split() == ["<blank>", "|", "A", "B", "C"]
    left = [line.split("\t") for line in (trained / "left_out.tsv").read_text().splitlines()]
    assert left[0] == ["split", "audio", "reason"]
    ((split, audio, reason),) = left[1:]
    assert (split, Path(audio).name) == ("train", "5.wav")
    assert "200 tokens that need 399" in reason
    (last, *_) = reversed(rows(trained))
    assert last["valid_wer"] < 0.2
    assert 0.2 < last["blank_share"] < 0.99
    assert last["infeasible"] == 0
    words = ["evaluate", f"model={model}", f"root={spelled}", "device=cpu", f"output_dir={tmp_path / 'out'}"]
    assert main(words) == 0
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert f"word error rate {100 * record['wer']:.2f} %" in said
    assert record["wer"] < 0.2
    assert (record["n"], record["decoder"], record["model"]) == (6, "greedy", "spelled")
    assert (tmp_path / "out" / "report.html").is_file()
    card = (model / "card.md").read_text()
    assert "Word error rate" in card
    assert "automatic-speech-recognition" in card
    assert "recognizer.transcribe(" in card
    recognizer = Recognizer.load(model)
    assert recognizer.config.calibration != Calibration()
    heard = recognizer.transcribe(str(spelled / "47.wav"))
    assert heard.words
    assert all(0 <= one.start_s < one.end_s <= heard.duration_s for one in heard.words)
    assert main(["evaluate", f"model={model}", f"root={spelled}", "decoder=nonsense"]) == 2
    for decoder in ("greedy", "beam", "beam", "greedy"):  # a recipe keeps one row for each way to decode
        assert main([*words, f"decoder={decoder}", f"recipe_dir={tmp_path}"]) == 0
    kept = [run["decoder"] for run in json.loads((tmp_path / "results.json").read_text())["runs"]]
    assert kept == ["beam", "greedy"]


@pytest.mark.parametrize(
    "overrides", [(), ("trainer.ema_decay=0.9", "augment.speed.probability=1", "trainer.accumulate=2")]
)
def test_resumed_is_uninterrupted(spelled: Path, tmp_path: Path, overrides: tuple, monkeypatch) -> None:
    """Cut after the sixth step and resumed = never cut, to the bit. Oracle: the uninterrupted run."""
    from speechgru.training.trainer import Trainer

    often = "trainer.checkpoint_s=0.0001"
    run(spelled, tmp_path / "whole", often, *overrides)
    update, calls = Trainer._update, []

    def cut(self, batches):
        if len(calls) == 6:
            raise MemoryError("killed")
        calls.append(1)
        return update(self, batches)

    monkeypatch.setattr(Trainer, "_update", cut)
    with pytest.raises(MemoryError):
        run(spelled, tmp_path / "cut", often, *overrides)
    monkeypatch.undo()
    run(spelled, tmp_path / "cut", often, "resume=true", *overrides)
    a, b = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "cut"))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert rows(tmp_path / "whole") == rows(tmp_path / "cut")
    whole, again = (tmp_path / name / "model" for name in ("whole", "cut"))
    for name in ("model.safetensors", "config.yaml", "tokens.txt"):
        assert (whole / name).read_bytes() == (again / name).read_bytes(), name


def test_speech_made_faster_than_its_transcript_is_counted(spelled: Path, tmp_path: Path) -> None:
    """Oracle: frames counted by hand: 8 x 80 ms of frames of 10 ms hold a token each at speed 1, not at speed 2."""
    corpus = tmp_path / "tight"
    corpus.mkdir()
    lines = ["audio\ttext\tsplit"]
    for number in range(8):
        soundfile.write(corpus / f"{number}.wav", noise(80 * 20, number).numpy(), 8000)
        lines.append(f"{number}.wav\t{'ab' * 9 if number % 2 else 'a'}\t{'valid' if number > 5 else 'train'}")
    (corpus / "manifest.tsv").write_text("\n".join(lines) + "\n")
    faster = ["augment.speed.probability=1", "augment.speed.min_factor=1.9", "augment.speed.max_factor=1.9"]
    progress = run(corpus, tmp_path / "run", "encoder.pyramid=[]", "trainer.epochs=1", *faster)
    (row,) = rows(tmp_path / "run")
    assert row["infeasible"] == 3
    assert progress.examples == 3
    assert not (tmp_path / "run" / "left_out.tsv").exists()
    assert math.isfinite(row["train_loss"])
    assert math.isfinite(row["gradient_norm"])


def test_what_cannot_be_learned_is_said_before_training(spelled: Path, tmp_path: Path, capsys) -> None:
    """Oracle: the corpora made here: none feasible; a letter in valid that train has not got; no text; no units."""
    corpus = tmp_path / "odd"
    shutil.copytree(spelled, corpus)
    table = (corpus / "manifest.tsv").read_text()
    (corpus / "manifest.tsv").write_text(re.sub("\t[abc ]+\t", "\taaaaaaaa\t", table))
    with pytest.raises(DataError, match=r"none of the 36 utterances .* that need 15; to fix it: less subsampling"):
        run(corpus, tmp_path / "run", "encoder.num_layers=3", "encoder.pyramid=[8,8,8]")
    (corpus / "manifest.tsv").write_text(table.replace("\tvalid", "z\tvalid", 1))
    run(corpus, tmp_path / "odd_run", "trainer.epochs=1")
    assert "2 utterances left out" in capsys.readouterr().err
    assert "36.wav\tits transcript: 'Z' not among the 5 tokens" in (tmp_path / "odd_run" / "left_out.tsv").read_text()
    with pytest.raises(ConfigError, match="head=ctc: needs units"):
        run(spelled, tmp_path / "none", "~units", "data.label_is_text=true")
    with pytest.raises(ConfigError, match=r"no labels.*head=ctc units=characters"):
        run(spelled, tmp_path / "none", "~units", "head=classification")


def test_a_silent_model_says_so(spelled: Path, tmp_path: Path, capsys) -> None:
    """Oracle: a learning rate of almost nothing and a head that loves the blank."""
    from speechgru.heads import ctc

    before = ctc.CTCHead.__init__

    def blank(self, *given, **more):
        before(self, *given, **more)
        self.output.bias.data[0] = 50

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctc.CTCHead, "__init__", blank)
        run(spelled, tmp_path / "run", "optimizer.learning_rate=1e-9", "trainer.epochs=1")
    said = capsys.readouterr().err
    assert "epoch 1: every transcript of the validation set is empty, 100.0 % of the frames are blank" in said
    assert rows(tmp_path / "run")[0]["blank_share"] == 1

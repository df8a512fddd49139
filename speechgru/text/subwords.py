"""Sub-words of sentencepiece (extra ``subwords``), learned from the training transcripts."""

from __future__ import annotations

import dataclasses
import enum
import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.text.units import Units, UnitsConfig
from speechgru.tokens import Tokens

FILE = "subwords.model"
START = "\N{LOWER ONE EIGHTH BLOCK}"  # what sentencepiece writes before the first piece of a word


class Algorithm(enum.Enum):
    """How sub-words are chosen: byte pair encoding (1508.07909) or a unigram language model (1804.10959)."""

    bpe = "bpe"
    unigram = "unigram"


@dataclasses.dataclass
class SubwordsConfig(UnitsConfig):
    """Settings of sub-words as units.

    Attributes:
        size: how many sub-words, at least 8; with few transcripts there may be fewer.
        algorithm: how they are chosen.
    """

    size: int = 256
    algorithm: Algorithm = Algorithm.unigram

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ConfigError(f"size={self.size}: at least 8")


@register("units", "subwords", SubwordsConfig)
class Subwords(Units):
    """Frequent pieces of words are tokens; the first piece of a word begins with ``▁``."""

    config: SubwordsConfig

    def __init__(self, config: SubwordsConfig) -> None:
        super().__init__(config)
        self._model: bytes = b""
        self._processor: Any = None

    def inventory(self, transcripts: list[str]) -> list[str]:
        """Learns the sub-words and gives them in sentencepiece's order."""
        if not any(transcripts):
            return []
        sentencepiece, written = _sentencepiece(), io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter([text for text in transcripts if text]),
                model_writer=written,
                vocab_size=self.config.size,
                model_type=self.config.algorithm.name,
                character_coverage=1.0,
                hard_vocab_limit=False,
                normalization_rule_name="identity",
                bos_id=-1,
                eos_id=-1,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"units.size={self.config.size}: sentencepiece refuses ({reason}); lower it") from None
        self._take(written.getvalue())
        return [
            self._processor.id_to_piece(index)
            for index in range(self._processor.get_piece_size())
            if not self._processor.is_unknown(index)
        ]

    def split(self, text: str) -> list[str]:
        """The sub-words."""
        assert self._processor is not None, "sub-words are learned by tokens() or restored from a model folder"
        return self._processor.encode(text, out_type=str)

    def words(self, indices: Sequence[int], tokens: Tokens) -> list[tuple[str, int, int]]:
        """The words: each is the pieces from one that begins a word to the next such piece."""
        found: list[tuple[str, int, int]] = []
        for place, index in enumerate(indices):
            name = tokens.names[index]
            if name.startswith(START) or not found:
                found.append((name.removeprefix(START), place, place + 1))
            else:
                word, start, _ = found[-1]
                found[-1] = (word + name, start, place + 1)
        return [one for one in found if one[0]]  # a lone word start is no word

    def files(self) -> dict[str, bytes]:
        """sentencepiece's model."""
        return {FILE: self._model}

    def restore(self, folder: Path) -> None:
        """Reads sentencepiece's model."""
        try:
            self._take((folder / FILE).read_bytes())
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{folder / FILE}: cannot be read ({' '.join(str(error).split())}); copy it again"
            ) from None

    def _take(self, model: bytes) -> None:
        self._model = model
        self._processor = _sentencepiece().SentencePieceProcessor(model_proto=model)


def _sentencepiece() -> ModuleType:
    try:
        import sentencepiece
    except ImportError:
        raise ConfigError(
            "units=subwords needs an extra that is not installed: pip install 'speechgru[subwords]'"
        ) from None
    return sentencepiece

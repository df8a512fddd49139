"""Heads: the encoder's frames in, scores and a loss out."""

from speechgru.heads.classification import ClassificationConfig, ClassificationHead, Pooling
from speechgru.heads.ctc import CTCConfig, CTCHead
from speechgru.heads.keyword import KeywordHead, KeywordHeadConfig
from speechgru.heads.pooling import (
    AttentionPooling,
    BestFramePooling,
    EndsPooling,
    MaxPooling,
    MeanPooling,
    StatisticsPooling,
)
from speechgru.heads.speaker import SpeakerHead, SpeakerHeadConfig

__all__ = [
    "AttentionPooling",
    "BestFramePooling",
    "CTCConfig",
    "CTCHead",
    "ClassificationConfig",
    "ClassificationHead",
    "EndsPooling",
    "KeywordHead",
    "KeywordHeadConfig",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "SpeakerHead",
    "SpeakerHeadConfig",
    "StatisticsPooling",
]

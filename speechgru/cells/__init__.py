"""Gated recurrent cells, one to a file, under one contract."""

from speechgru.cells.cell import Cell, initialize, other_convention
from speechgru.cells.fast_grnn import FastGRNN, FastGRNNConfig
from speechgru.cells.gru import GRU, GRUConfig
from speechgru.cells.gru_before import GRUBefore, GRUBeforeConfig
from speechgru.cells.gru_variants import GRU1, GRU2, GRU3, GRU1Config, GRU2Config, GRU3Config
from speechgru.cells.ind_rnn import IndRNN, IndRNNConfig
from speechgru.cells.li_gru import LiGRU, LiGRUConfig
from speechgru.cells.lstm import LSTM, LSTMConfig
from speechgru.cells.mgu import MGU, MGUConfig
from speechgru.cells.min_gru import MinGRU, MinGRUCandidate, MinGRUConfig
from speechgru.cells.qrnn import QRNN, QRNNConfig
from speechgru.cells.rnn import RNN, RNNConfig
from speechgru.cells.sli_gru import SLiGRU, SLiGRUConfig
from speechgru.cells.sru import SRU, SRUConfig
from speechgru.cells.subnormals import flushed_subnormals
from speechgru.lengths import reverse_within, valid_frames

__all__ = [
    "GRU",
    "GRU1",
    "GRU2",
    "GRU3",
    "LSTM",
    "MGU",
    "QRNN",
    "RNN",
    "SRU",
    "Cell",
    "FastGRNN",
    "FastGRNNConfig",
    "GRU1Config",
    "GRU2Config",
    "GRU3Config",
    "GRUBefore",
    "GRUBeforeConfig",
    "GRUConfig",
    "IndRNN",
    "IndRNNConfig",
    "LSTMConfig",
    "LiGRU",
    "LiGRUConfig",
    "MGUConfig",
    "MinGRU",
    "MinGRUCandidate",
    "MinGRUConfig",
    "QRNNConfig",
    "RNNConfig",
    "SLiGRU",
    "SLiGRUConfig",
    "SRUConfig",
    "flushed_subnormals",
    "initialize",
    "other_convention",
    "reverse_within",
    "valid_frames",
]

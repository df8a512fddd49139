"""How an encoder is called: settings by name, the habits of torch.nn.GRU, and what it shows of itself."""

import dataclasses
import inspect
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechgru.cells import GRU, GRUConfig, LSTMConfig, MinGRUCandidate, MinGRUConfig
from speechgru.encoders import (
    ConvolutionConfig,
    GRUEncoder,
    GRUEncoderConfig,
    LatencyControlledConfig,
    LatencyControlledEncoder,
    LookAheadConfig,
    LookAheadEncoder,
    Merge,
)
from speechgru.encoders.latency_controlled import LatencyControlledSettings
from speechgru.encoders.look_ahead import LookAheadSettings
from speechgru.encoders.recurrent_config import GRUEncoderSettings
from speechgru.errors import ConfigError

INPUT = 6
ENCODERS = [
    (GRUEncoder, GRUEncoderConfig, GRUEncoderSettings),
    (LookAheadEncoder, LookAheadConfig, LookAheadSettings),
    (LatencyControlledEncoder, LatencyControlledConfig, LatencyControlledSettings),
]


@pytest.mark.parametrize(("encoder", "config", "settings"), ENCODERS)
def test_keywords_are_the_fields_of_the_config(encoder, config, settings):
    """Oracle: the dataclass. The typed keywords name the same, of the same types, and ``help`` shows the defaults."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    assert list(settings.__annotations__) == list(fields)
    for name, kind in settings.__annotations__.items():
        declared = fields[name].type
        if "family" not in fields[name].metadata:
            assert declared == kind.__forward_arg__.split(" | ")[0], name
    shown = inspect.signature(encoder).parameters
    assert list(shown) == ["input_size", "config", *fields]
    default = config()
    assert all(shown[name].default == getattr(default, name) for name in fields)


def test_a_config_and_its_settings_by_name_are_one_encoder():
    """Oracle: the encoder of the config; components by name and enumerations by name are the same too."""
    wanted = GRUEncoderConfig(
        5, 3, merge=Merge.sum, pyramid=[1, 2, 1], cell=LSTMConfig(), front_end=ConvolutionConfig()
    )
    found = GRUEncoder(
        INPUT, hidden_size=5, num_layers=3, merge="sum", pyramid=[1, 2, 1], cell="lstm", front_end="convolution"
    )
    assert found.config == wanted
    assert GRUEncoder(INPUT, wanted).config is wanted
    positive = MinGRUConfig(candidate=MinGRUCandidate.positive)
    assert GRUEncoder(INPUT, cell=positive, merge=Merge.sum).config.cell == positive
    assert LookAheadEncoder(INPUT, context=7, hidden_size=4).config == LookAheadConfig(hidden_size=4, context=7)
    assert LatencyControlledEncoder(INPUT, chunk=3).config == LatencyControlledConfig(chunk=3)


@pytest.mark.parametrize(
    ("arguments", "settings", "line"),
    [
        ((32, 64), {}, "GRUEncoder(32, 64): settings go by name; write GRUEncoder(32, hidden_size=64)"),
        ((32, 64, 2), {}, "write GRUEncoder(32, hidden_size=64, num_layers=2)"),
        ((32, 64), {"num_layers": 3, "batch_first": True}, "write GRUEncoder(32, hidden_size=64, num_layers=3)"),
        ((32,), {"hidden_size": "64"}, "GRUEncoder.hidden_size='64' is not of type int"),
        ((32,), {"bidirectional": 1}, "GRUEncoder.bidirectional=1 is not of type bool"),
        ((32,), {"hiden_size": 64}, "hiden_size is not a setting of GRUEncoderConfig; did you mean 'hidden_size'?"),
        ((32,), {"batch_first": True}, "batch_first is a setting of torch.nn.GRU, not of GRUEncoder: leave it out"),
        ((32,), {"cell": "grru"}, "cell=grru is not known; did you mean"),
        ((32,), {"cell": GRUConfig}, "or settings, such as GRUConfig()"),
        ((32,), {"cell": 3}, "cell=3: a name (fast_grnn, gru,"),
        ((32,), {"merge": "mean"}, "GRUEncoder.merge='mean' is not one of concat, sum"),
        ((32, GRUConfig()), {}, "GRUConfig is not its config, a GRUEncoderConfig"),
        ((32, GRUEncoderConfig(), 2), {}, "give a config or single settings, not both"),
        (("32",), {}, "input_size='32': a whole number of at least 1"),
    ],
)
def test_what_is_not_so_here_is_refused_in_a_line(arguments, settings, line):
    """The line says what to write."""
    with pytest.raises(ConfigError, match=re.escape(line)) as caught:
        GRUEncoder(*arguments, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoder", [encoder for encoder, _, _ in ENCODERS])
def test_lengths_in_any_form(encoder):
    """Oracle: an int64 tensor."""
    module = encoder(INPUT, hidden_size=4).eval()
    features = torch.randn(2, 5, INPUT)
    wanted, lengths = module(features, torch.tensor([5, 3]))
    for form in ([5, 3], (5, 3), np.array([5, 3]), torch.tensor([5, 3], dtype=torch.int32)):
        hidden, found = module(features, form)
        assert torch.equal(hidden, wanted)
        assert torch.equal(found, lengths)
        assert found.dtype == torch.int64
    with pytest.raises(ConfigError, match=r"lengths=\[1.0, 0.5\]: whole numbers of frames"):
        module(features, torch.tensor([1.0, 0.5]))


def test_a_packed_sequence_is_told_what_to_write():
    """Oracle: what the line says to write, against torch's own GRU on the packed sequence."""
    theirs = nn.GRU(INPUT, 4, 2, bidirectional=True, batch_first=True)
    packed = pack_padded_sequence(torch.randn(2, 5, INPUT), [5, 3], batch_first=True)
    encoder = GRUEncoder.from_torch(theirs)
    with pytest.raises(ConfigError) as caught:
        encoder(packed)
    code = str(caught.value).partition("; write ")[2]
    hidden, _ = eval(code, {"encoder": encoder, "pad_packed_sequence": pad_packed_sequence, "packed": packed})
    torch.testing.assert_close(hidden, pad_packed_sequence(theirs(packed)[0], batch_first=True)[0])


def test_weights_of_torch_are_told_the_way():
    """Also inside of a larger model; weights of an encoder load there as ever."""
    theirs = nn.GRU(INPUT, 4, 2, bidirectional=True)
    encoder = GRUEncoder(INPUT, hidden_size=4)
    with pytest.raises(ConfigError, match=r"^weight_ih_l0 is a name .* GRUEncoder.from_torch\(module\)"):
        encoder.load_state_dict(theirs.state_dict())
    model, other = nn.ModuleDict({"rnn": encoder}), nn.ModuleDict({"rnn": theirs})
    with pytest.raises(ConfigError, match=r"^rnn\.weight_ih_l0 is a name"):
        model.load_state_dict(other.state_dict())
    twin = nn.ModuleDict({"rnn": pickle.loads(pickle.dumps(encoder))})
    twin.load_state_dict(model.state_dict())


def test_what_an_encoder_shows_of_itself():
    """By hand: its sizes, what is not as by default, and the cells with theirs."""
    text = repr(GRUEncoder(40, hidden_size=8, num_layers=1, merge="sum", zoneout=0.1, cell="min_gru"))
    assert "40, hidden_size=8, num_layers=1, bidirectional=True, merge=sum, zoneout=0.1, output_size=8" in text
    assert "(forward_cell): MinGRU(40, 8, zoneout=0.1)" in text
    assert "dropout" not in text
    assert repr(GRU(40, 64)) == "GRU(40, 64)"

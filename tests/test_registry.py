"""The table of components, and settings as plain values: what is written is read back equal, what is wrong is named."""

import dataclasses
import enum
import json
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import speechgru.augment
import speechgru.data.corpora
import speechgru.recognizer
import speechgru.training.optimizer
import speechgru.training.schedule  # noqa: F401  the imports register components
from speechgru import registry
from speechgru.cells import GRU, GRUConfig
from speechgru.encoders import GRUEncoderConfig
from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.plain_yaml import from_yaml, to_yaml
from speechgru.registry import (
    build,
    component,
    entry,
    families,
    from_plain,
    name_of,
    names,
    register,
    to_plain,
)

ALL = [(family, name) for family, entries in families().items() for name in entries]


class Shade(enum.Enum):
    """Values differ from names on purpose: the plain form stores names."""

    light = 1
    dark = 2


@dataclasses.dataclass
class PartConfig:
    size: int = 1
    scale: float = 1.0


@dataclasses.dataclass
class OtherPartConfig(PartConfig):
    pass


@dataclasses.dataclass
class WholeConfig:
    count: int = 2
    ratio: float = 0.5
    word: str = "a"
    flag: bool = False
    shade: Shade = Shade.light
    shades: list[Shade] = dataclasses.field(default_factory=list)
    numbers: list[float] = dataclasses.field(default_factory=list)
    parts: list[PartConfig] = dataclasses.field(default_factory=list)
    nested: PartConfig = dataclasses.field(default_factory=PartConfig)
    perhaps: int | None = None
    perhaps_nested: PartConfig | None = None
    chosen: typing.Any = component("test_part", PartConfig)
    none_chosen: typing.Any = component("test_part", lambda: None)


@pytest.fixture(autouse=True)
def families_of_the_test(monkeypatch):
    """Components of this test alone, gone when it ends."""
    monkeypatch.setattr(registry, "_FAMILIES", {family: dict(entries) for family, entries in families().items()})

    @register("test_part", "part", PartConfig)
    class Part:
        def __init__(self, *arguments):
            self.arguments = arguments

    @register("test_part", "other_part", OtherPartConfig)
    class OtherPart(Part):
        pass

    @register("test_whole", "whole", WholeConfig)
    class Whole(Part):
        pass


floats = st.floats(allow_nan=False)
integers = st.integers(-(2**63), 2**63 - 1)
parts = st.builds(PartConfig, integers, floats)
wholes = st.builds(
    WholeConfig,
    count=integers,
    ratio=floats,
    word=st.text(),
    flag=st.booleans(),
    shade=st.sampled_from(Shade),
    shades=st.lists(st.sampled_from(Shade), max_size=3),
    numbers=st.lists(floats, max_size=3),
    parts=st.lists(parts, max_size=2),
    nested=parts,
    perhaps=st.none() | integers,
    perhaps_nested=st.none() | parts,
    chosen=parts | st.builds(OtherPartConfig, integers, floats),
    none_chosen=st.none() | parts,
)


def is_plain(value):
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(is_plain(one) for one in value)
    return value is None or type(value) in (bool, int, float, str)


def test_settings_go_round():
    """Oracle: the settings themselves; on the way they are plain values, through YAML too."""

    @settings(max_examples=60, deadline=None)
    @given(wholes)
    def check(config):
        plain = to_plain(config, "test_whole")
        assert is_plain(plain)
        assert next(iter(plain)) == "name"
        assert from_plain(plain, "test_whole") == config
        text = to_yaml(plain)
        assert from_plain(from_yaml(text), "test_whole") == config

    check()


def change_one(config, draw):
    """The config with one setting drawn anew where its type says what may stand there; unlawful draws are left out."""
    hints = typing.get_type_hints(type(config))
    drawn = {}
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if hint is bool:
            drawn[field.name] = draw(st.booleans())
        elif isinstance(hint, type) and issubclass(hint, enum.Enum):
            drawn[field.name] = draw(st.sampled_from(hint))
        elif hint in (int, float):
            drawn[field.name] = type(getattr(config, field.name))(draw(st.integers(0, 20)))
    for name, value in drawn.items():
        try:
            config = dataclasses.replace(config, **{name: value})
        except SpeechGRUError:
            continue
    return config


@pytest.mark.parametrize(("family", "name"), ALL)
def test_every_components_settings_go_round(family, name):
    """Oracle: the settings; drawn for every registered component of the package."""

    @settings(max_examples=10, deadline=None)
    @given(st.data())
    def check(data):
        try:
            config = change_one(entry(family, name).config(), data.draw)
        except TypeError:
            pytest.skip(f"{family}={name} has settings without a default")
        assert name_of(family, config) == name
        plain = to_plain(config, family)
        assert is_plain(plain)
        again = from_plain(json.loads(json.dumps(plain)), family)
        assert again == config
        assert to_plain(again, family) == plain

    check()


def test_a_component_is_built_by_its_settings():
    """The class registered with the settings' class, given the arguments before them."""
    part = build("test_part", OtherPartConfig(3), 40, "b")
    assert type(part).__name__ == "OtherPart"
    assert part.arguments == (40, "b", OtherPartConfig(3))
    assert isinstance(build("cell", GRUConfig(), 3, 4), GRU)


def test_unknown_names_list_the_known_and_the_nearest():
    """What a mistyped cell=gruu says."""
    with pytest.raises(
        ConfigError, match=r"^test_part=prat is not known; did you mean 'part'\? \(known: other_part, part\)$"
    ):
        entry("test_part", "prat")
    with pytest.raises(ConfigError, match=r"^nowhere=gru is not known \(known: none\)$"):
        entry("nowhere", "gru")
    with pytest.raises(ConfigError, match="int belongs to no registered component"):
        name_of("cell", 3)


def test_a_name_is_taken_once():
    """Another class under a known name is refused, also one of the same name elsewhere; a reloaded module is not."""

    @dataclasses.dataclass
    class FreshConfig:
        size: int = 1

    with pytest.raises(ConfigError, match=r"cell=gru is taken by speechgru\.cells\.gru\.GRU"):

        @register("cell", "gru", FreshConfig)
        class Another:
            pass

    twin = type("GRU", (), {"__module__": "plugin"})
    with pytest.raises(ConfigError, match="is taken by"):
        register("cell", "gru", FreshConfig)(twin)
    assert entry("cell", "gru").component is GRU
    reloaded = type("GRU", (), {"__module__": "speechgru.cells.gru"})
    register("cell", "gru", GRUConfig)(reloaded)
    assert entry("cell", "gru").component is reloaded


def test_settings_belong_to_one_component():
    """Two components with one dataclass could not be told apart in a model folder."""
    with pytest.raises(ConfigError, match="GRUConfig configures gru already"):
        register("cell", "copy", GRUConfig)(type("Copy", (), {}))
    assert "copy" not in names("cell")


def test_settings_that_cannot_be():
    """Not a dataclass; a setting called name."""

    @dataclasses.dataclass
    class NamedConfig:
        name: str = "a"

    with pytest.raises(ConfigError, match="is not a dataclass"):
        register("cell", "plain", dict)(type("Plain", (), {}))
    with pytest.raises(ConfigError, match="a setting of NamedConfig is called name"):
        register("cell", "named", NamedConfig)(type("Named", (), {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cuont": 1}, r"test_whole\.cuont is not a setting of WholeConfig; did you mean 'count'\?"),
        ({"count": "3"}, r"test_whole\.count='3' is not of type int"),
        ({"count": 1.5}, r"test_whole\.count=1\.5 is not of type int"),
        ({"count": True}, r"test_whole\.count=True is not of type int"),
        ({"count": None}, r"test_whole\.count=None is not of type int"),
        ({"ratio": "1e-3"}, r"test_whole\.ratio='1e-3' is not of type float"),
        ({"flag": 1}, r"test_whole\.flag=1 is not of type bool"),
        ({"word": 1}, r"test_whole\.word=1 is not of type str"),
        ({"shade": "grey"}, r"test_whole\.shade='grey' is not one of light, dark"),
        ({"shade": ["light"]}, r"test_whole\.shade=\['light'\] is not one of"),
        ({"numbers": "123"}, r"test_whole\.numbers='123' is not a list"),
        ({"numbers": [1.0, "2"]}, r"test_whole\.numbers\[1\]='2' is not of type float"),
        ({"nested": {"sise": 1}}, r"test_whole\.nested\.sise is not a setting of PartConfig; did you mean 'size'\?"),
        ({"nested": 3}, r"test_whole\.nested=3: the settings of a PartConfig"),
        ({"parts": [{"size": "a"}]}, r"test_whole\.parts\[0\]\.size='a'"),
        ({"chosen": {"size": 1}}, r"test_whole\.chosen: the key 'name' is missing \(known: other_part, part\)"),
        ({"chosen": {"name": "pert"}}, r"test_part=pert is not known; did you mean 'part'"),
        ({"chosen": {"name": "part", "sise": 1}}, r"test_whole\.chosen\.sise is not a setting"),
        ({"chosen": "part"}, r"test_whole\.chosen='part': a component is written as its name and settings"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    """Oracle: the message names the key, the value and the mend."""
    with pytest.raises(ConfigError, match=message):
        from_plain({"name": "whole", **change}, "test_whole")


def test_an_integer_may_stand_for_a_float():
    """1 in a hand-written file is 1.0."""
    assert from_plain({"name": "part", "scale": 3}, "test_part") == PartConfig(scale=3.0)


def test_ranges_are_checked_when_settings_are_read():
    """The dataclass's own check runs: a model folder cannot bring in what the command line refuses."""
    plain = to_plain(GRUEncoderConfig(), "encoder")
    with pytest.raises(ConfigError, match=r"dropout=1\.5"):
        from_plain(plain | {"dropout": 1.5}, "encoder")


# Planted errors: each must make a test above fail.


def test_planted_enum_by_value_is_seen(monkeypatch):
    monkeypatch.setattr(Shade, "name", property(lambda member: str(member.value)), raising=False)
    with pytest.raises((AssertionError, ConfigError)):
        test_settings_go_round()


def test_planted_forgotten_component_is_seen(monkeypatch):
    plain = registry.to_plain

    def forgetful(config, family=None):
        return plain(config, None if family == "test_part" else family)

    monkeypatch.setattr(registry, "to_plain", forgetful)
    monkeypatch.setitem(globals(), "to_plain", forgetful)
    with pytest.raises((AssertionError, ConfigError)):
        test_settings_go_round()

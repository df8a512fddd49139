"""The arguments of an encoder: its config, or single settings by name; and what a user of torch.nn.GRU should write."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

from speechgru.errors import ConfigError
from speechgru.registry import from_plain, name_of, names, to_plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
Encoder = TypeVar("Encoder", bound=type[nn.Module])

# Keywords of torch.nn.GRU that no encoder has.
OF_TORCH = {
    "batch_first": "leave it out, features are always (batch, time, feature)",
    "bias": "leave it out, a cell has its biases",
    "proj_size": "projection_size puts a linear layer behind each recurrent layer",
    "device": "write .to(device) behind the encoder",
    "dtype": "write .to(dtype) behind the encoder",
}


def read_arguments(
    encoder: str,
    kind: type[Config],
    input_size: int,
    config: Config | None,
    positional: tuple[object, ...],
    settings: Mapping[str, object],
) -> Config:
    """The settings that the arguments of a constructor mean.

    Args:
        encoder: name of the class.
        kind: the class of its settings.
        input_size: as given.
        config: as given; with a config there are no other arguments.
        positional: what followed it without a name.
        settings: what was given by name. A component may be given by its name, a member of an enumeration too.

    Raises:
        ConfigError: a line that says what to write.
    """
    if not isinstance(input_size, int) or isinstance(input_size, bool) or input_size < 1:
        raise ConfigError(f"input_size={input_size!r}: a whole number of at least 1")
    if isinstance(config, int):
        values = ", ".join(repr(value) for value in (input_size, config, *positional))
        given = {"hidden_size": config, **dict(zip(["num_layers"], positional, strict=False)), **settings}
        named = "".join(f", {name}={value!r}" for name, value in given.items() if name not in OF_TORCH)
        raise ConfigError(f"{encoder}({values}): settings go by name; write {encoder}({input_size}{named})")
    if config is not None and not isinstance(config, kind):
        raise ConfigError(
            f"{encoder}: {type(config).__name__} is not its config, a {kind.__name__}; other settings go by name"
        )
    if positional or (config is not None and settings):
        raise ConfigError(f"{', '.join(settings) or positional}: give a config or single settings, not both")
    if config is not None:
        return config
    for name, mend in OF_TORCH.items():
        if name in settings:
            raise ConfigError(f"{name} is a setting of torch.nn.GRU, not of {encoder}: {mend}")
    families = {field.name: field.metadata.get("family") for field in dataclasses.fields(kind)}
    plain = {name: _plain(name, value, families.get(name)) for name, value in settings.items()}
    return from_plain({"name": name_of("encoder", kind()), **plain}, "encoder", encoder)


def _plain(name: str, value: object, family: str | None) -> object:
    """A value as a model folder would hold it, because every check of a name and a type is done on that form."""
    if family and isinstance(value, str):
        return {"name": value}
    if family and value is not None and (isinstance(value, type) or not dataclasses.is_dataclass(value)):
        raise ConfigError(f"{name}={value!r}: a name ({', '.join(names(family))}) or settings, such as GRUConfig()")
    return value.name if isinstance(value, enum.Enum) else to_plain(value, family)


def shows_settings(kind: type[DataclassInstance]) -> Callable[[Encoder], Encoder]:
    """Decorator: puts every setting of an encoder into the signature that ``help`` and an interactive shell show."""
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter("input_size", positional, annotation=int),
        inspect.Parameter("config", positional, default=None, annotation=kind | None),
    ]
    defaults = kind()
    for name, hint in typing.get_type_hints(kind).items():
        by_name = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, by_name, default=getattr(defaults, name), annotation=hint))

    def decorate(encoder: Encoder) -> Encoder:
        encoder.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return encoder

    return decorate


def refuse_torch_names(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *rest: object) -> None:
    """A hook before weights are loaded: ConfigError for those of torch's own module, which have other names."""
    if f"{prefix}weight_ih_l0" in state:
        raise ConfigError(
            f"{prefix}weight_ih_l0 is a name of torch.nn.GRU, LSTM or RNN; "
            f"GRUEncoder.from_torch(module) makes an encoder of such a module"
        )

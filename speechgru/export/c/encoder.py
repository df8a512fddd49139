"""The encoder in C: front end, recurrent layers with what is between them, and the look-ahead convolution."""

from __future__ import annotations

from torch import nn

from speechgru.cells.batch_norm import folded
from speechgru.encoders import Convolution, GRUEncoder, LookAheadEncoder, RecurrentEncoder
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.errors import ModelError
from speechgru.export.c.cells import write_cell
from speechgru.export.c.program import Program


def write_encoder(program: Program, encoder: object) -> None:
    """Writes the stages from frames to hidden frames.

    Raises:
        ModelError: the encoder cannot be written in C.
    """
    if not isinstance(encoder, RecurrentEncoder) or type(encoder) not in (GRUEncoder, LookAheadEncoder):
        raise ModelError(
            f"encoder of the type {type(encoder).__name__} has no C form; gru with bidirectional=False and look_ahead "
            "have one"
        )
    if isinstance(encoder.front_end, Convolution):
        _write_convolution(program, encoder.front_end)
    elif encoder.front_end is not None:
        raise ModelError(f"front end {type(encoder.front_end).__name__} has no C form; convolution has one")
    for place, layer in enumerate(encoder.layers):
        assert isinstance(layer, RecurrentLayer)
        _write_layer(program, f"layer_{place + 1}", layer)
    if isinstance(encoder, LookAheadEncoder):
        _write_look_ahead(program, encoder)


def _window(program: Program, name: str, width: int, stride: int, before: int, size: int) -> tuple[str, str]:
    """Declares an array of frames that wait; returns the arguments of the window functions, and the array."""
    program.use("windows")
    kept, held = f"{name}_kept", f"{name}_held"
    program.declare(f"static const window {name}_window = {{{width}, {stride}, {before}, {size}}};")
    program.member("float", kept, width * size)
    program.scalar("int32_t", held)
    if before:
        program.begin(f"s->{held} = {before};")
    return f"&{name}_window, s->{kept}, &s->{held}", f"s->{kept}"


def _windowed(program: Program, comment: str, arguments: str, give: str) -> None:
    """Writes a stage that does something for each window."""
    block = f"{{\n{give}\nwindow_moves({arguments});\n}}"
    push = f"if (window_takes({arguments}, frame)) {block}"
    program.stage(comment, push, f"while (window_remains({arguments})) {block}")


def _write_convolution(program: Program, front_end: Convolution) -> None:
    config, channels, size = front_end.config, 1, front_end.input_size
    program.use("convolution")
    for place, (convolution, norm) in enumerate(
        zip(front_end.convolutions, front_end.normalizations, strict=True), start=1
    ):
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        outputs = convolution.out_channels
        strides = config.stride_time[place - 1], config.stride_feature[place - 1]
        out_size = -(-size // strides[1])
        # The normalisation, with the statistics of training, is folded into the weights.
        factor, shift = folded(norm)
        name = f"convolution_{place}"
        program.matrix(name, convolution.weight.flatten(1), shift, factor)
        residual = config.residual and strides[0] == 1 and (channels, size) == (outputs, out_size)
        heights = config.kernel_time, config.kernel_feature
        sizes = channels, size, strides[1], *heights, outputs, out_size, int(residual)
        program.declare(f"static const convolution {name}_sizes = {{{', '.join(map(str, sizes))}}};")
        width = config.kernel_time
        arguments, kept = _window(program, name, width, strides[0], width // 2, channels * size)
        program.member("float", f"{name}_out", outputs * out_size)
        program.scratch("patch", channels * heights[0] * heights[1])
        program.scratch("gates", outputs)
        give = f"""
int place;
for (place = 0; place < {out_size}; place++) {{
    patch_of(&{name}_sizes, {kept}, place, s->patch);
    {program.product(name, "s->patch", "s->gates")}
    rectify(&{name}_sizes, {kept}, s->gates, place, s->{name}_out);
}}
{program.following}(s, s->{name}_out);"""
        _windowed(program, f"convolution {place} of the front end", arguments, give)
        channels, size = outputs, out_size


def _write_layer(program: Program, name: str, layer: RecurrentLayer) -> None:
    cell = layer.forward_cell
    if layer.factor > 1:
        arguments, kept = _window(
            program, f"{name}_join", layer.factor, layer.factor, 0, cell.input_size // layer.factor
        )
        _windowed(program, "neighbouring frames as one", arguments, f"{program.following}(s, {kept});")
    program.member("float", name, cell.state_size)
    statements = write_cell(program, name, cell, f"s->{name}")
    out = f"s->{name}"
    residual = layer.config.residual and layer.output_size == cell.input_size
    if layer.projection is not None or residual or layer.normalization is not None:
        out = f"s->{name}_out"
        program.member("float", f"{name}_out", layer.output_size)
        if layer.projection is not None:
            program.matrix(f"{name}_projection", layer.projection.weight, layer.projection.bias)
            statements += "\n" + program.product(f"{name}_projection", f"s->{name}", out)
        else:
            statements += f"\nmemcpy({out}, s->{name}, {layer.output_size} * sizeof *{out});"
    if residual:
        program.cell("add")
        statements += f"\nadd({out}, frame, {layer.output_size});"
    if layer.normalization is not None:
        program.use("normalize")
        program.table("float", f"{name}_gain_out", layer.normalization.weight)
        program.table("float", f"{name}_shift_out", layer.normalization.bias)
        statements += f"\nnormalize({out}, {layer.output_size}, {name}_gain_out, {name}_shift_out);"
    kind = type(cell).__name__
    program.stage(f"{name.replace('_', ' ')}: {kind}", f"{statements}\n{program.following}(s, {out});")


def _write_look_ahead(program: Program, encoder: LookAheadEncoder) -> None:
    context, size = encoder.config.context, encoder.output_size
    program.table("float", "ahead_weight", encoder.ahead_weight().T)
    arguments, kept = _window(program, "ahead", context + 1, 1, 0, size)
    program.member("float", "ahead_out", size)
    give = f"""
int i, frames;
memset(s->ahead_out, 0, sizeof s->ahead_out);
for (frames = 0; frames < {context + 1}; frames++)
    for (i = 0; i < {size}; i++) s->ahead_out[i] += ahead_weight[frames * {size} + i] * {kept}[frames * {size} + i];
{program.following}(s, s->ahead_out);"""
    _windowed(program, f"look-ahead of {context} frames", arguments, give)

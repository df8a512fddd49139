"""A trained model in formats that run without this package, each proved equal to the model before it is written.

``onnx_model`` writes the graph from waveform to scores, one small function for each kind of module; ``parity`` compares
it with the model; ``folder`` writes all files of an export, with ``run.py`` for users who have neither torch nor this
package. ``c`` writes C99 for a microcontroller.
"""

"""Looking into a recurrent model: its gates over a recording, how far its memory and its gradients reach."""

from speechgru.lab.inspection.replay import LayerTrace, Trace, trace

__all__ = ["LayerTrace", "Trace", "trace"]

"""What ``speechgru bench`` measures: one file a bench, each with a function ``bench_<name>(repeats)`` that gives rows.

A row has name, ours_ms, peer, peer_ms and ratio (peer_ms / ours_ms); a bench without a peer has None for the last two.
"""

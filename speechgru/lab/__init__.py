"""Which cell, which encoder, how fast, and why: measurements and pictures of models, not needed to use one."""

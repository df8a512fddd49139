"""A trained model as C99 for a microcontroller: no allocation, no library but libm, samples in and events out.

``source/`` holds the C code of which every program consists; the modules here write the tables and the calls between
them: ``features`` for the frames, ``encoder`` and ``cells`` for the layers, ``head`` for the scores and events.
``parity`` compiles the program and compares it with the model before anything is left on the disk.
"""

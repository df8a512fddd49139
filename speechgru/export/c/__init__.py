"""A trained model as C99 for a microcontroller: no allocation, no library but libm, samples in and events out.

``source/`` holds the C that every program is put together from; the modules here write the tables and the calls in
between: ``features`` the frames, ``encoder`` and ``cells`` the layers, ``head`` the scores and events. ``parity``
compiles the program and compares it with the model before anything is left on the disk.
"""
